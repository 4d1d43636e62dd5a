// A click anywhere in the list of examples counts where it meets one. A file that is pasted or dropped on the page, or
// comes from the button Paste, is opened like a chosen one.
element.addEventListener("click", event => {
  const button = event.target.closest("button[data-index]");
  if (button) trigger("click", {index: Number(button.dataset.index)});
});
function open(file) {
  const input = document.querySelector("#lp-open input[type=file]"), files = new DataTransfer();
  if (!file || !input) return;
  files.items.add(file);
  input.files = files.files;
  input.dispatchEvent(new Event("change", {bubbles: true}));
}
addEventListener("lp-open", event => open(event.detail));
document.addEventListener("paste", event => open(event.clipboardData.files[0]));
document.addEventListener("dragover", event => event.preventDefault());
document.addEventListener("drop", event => { event.preventDefault(); open(event.dataTransfer.files[0]); });

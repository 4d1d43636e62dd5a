// A click anywhere in the list of examples counts where it meets one.
element.addEventListener("click", event => {
  const button = event.target.closest("button[data-index]");
  if (button) trigger("click", {index: Number(button.dataset.index)});
});

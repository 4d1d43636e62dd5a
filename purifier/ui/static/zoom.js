// A click on a picture in a button.lp-zoom shows it large, wiped by a slider against the one it is compared with.
// The button's data has the words.
element.addEventListener("click", event => {
  const button = event.target.closest("button.lp-zoom");
  if (!button) return;
  let dialog = document.querySelector("dialog.lp-large");
  if (!dialog) {
    dialog = document.createElement("dialog");
    dialog.className = "lp-large";
    document.querySelector(".gradio-container").append(dialog);
    dialog.addEventListener("click", click => { if (click.target === dialog) dialog.close(); });
    dialog.addEventListener("input", input => dialog.style.setProperty("--wipe", `${input.target.value}%`));
  }
  const picture = button.querySelector("img");
  const against = button.dataset.against; // of the lesson where there is one, else of Try
  const other = against && (element.querySelector(`#${against}`) ?? document.getElementById(against));
  dialog.setAttribute("aria-label", picture.alt);
  dialog.style.setProperty("--wipe", "50%");
  dialog.replaceChildren();
  const frame = document.createElement("div");
  frame.className = "lp-wipe";
  const large = picture.cloneNode();
  large.removeAttribute("id");
  frame.append(large);
  const caption = document.createElement("p");
  caption.textContent = picture.alt;
  const close = document.createElement("button");
  close.type = "button";
  close.textContent = button.dataset.close;
  close.addEventListener("click", () => dialog.close());
  dialog.append(frame);
  if (other && other !== picture) {
    const before = other.cloneNode();
    before.removeAttribute("id");
    before.className = "lp-before";
    frame.append(before);
    const label = document.createElement("label");
    label.textContent = button.dataset.wiped.replace("{left}", () => other.alt).replace("{right}", () => picture.alt);
    const range = document.createElement("input");
    range.type = "range";
    range.max = 100;
    range.value = 50;
    label.append(range);
    dialog.append(label);
  } else {
    dialog.append(caption);
  }
  dialog.append(close);
  dialog.showModal();
});

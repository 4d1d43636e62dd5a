// Of cards: other ways to see a picture, the original while a button is held, and the wipe. What is chosen and opened
// stays when the server draws the card again.
const kept = {view: "", open: false};

function look() {
  for (const picture of element.querySelectorAll("[data-view]")) picture.hidden = picture.dataset.view !== kept.view;
  for (const input of element.querySelectorAll("input[name=view]")) input.checked = input.value === kept.view;
}
function hold(button, isHeld) {
  const picture = button.closest("figure").querySelector(".lp-zoom img"), original = element.querySelector("#lp-card-original") ?? document.getElementById("lp-card-original");
  for (const other of isHeld ? element.querySelectorAll("[data-view]") : []) other.hidden = true;
  for (const heat of element.querySelectorAll(".lp-heat")) heat.hidden = isHeld;
  picture.dataset.src ??= picture.src;
  picture.src = isHeld ? original.src : picture.dataset.src;
  if (!isHeld) look();
}
for (const [type, isHeld] of Object.entries({pointerdown: true, pointerup: false, pointerout: false, keydown: true, keyup: false, focusout: false})) {
  element.addEventListener(type, event => {
    const button = event.target.closest("[data-hold]");
    if (button && (!type.startsWith("key") || [" ", "Enter"].includes(event.key))) hold(button, isHeld);
  });
}
element.addEventListener("change", event => { if (event.target.name === "view") { kept.view = event.target.value; look(); } });
element.addEventListener("click", event => {
  if (event.target.closest("[data-wipe]")) event.target.closest("figure").querySelector(".lp-zoom").click();
});
element.addEventListener("toggle", event => { kept.open = event.target.open; }, true);
watch("value", () => {
  look();
  for (const all of element.querySelectorAll("details")) all.open = kept.open;
});

// Opens the settings and goes there, or closes them; Escape in them closes them and comes back.
() => {
  const drawer = document.querySelector(".lp-drawer"), toggle = drawer.querySelector(".toggle-button");
  if (!drawer.dataset.escapes) {
    drawer.dataset.escapes = "yes";
    drawer.addEventListener("keydown", event => {
      if (event.key !== "Escape" || event.target.getAttribute("aria-expanded") === "true") return; // of a menu in it
      toggle.click();
      document.querySelector("button.lp-settings, .lp-settings button").focus();
    });
  }
  toggle.click();
  const before = document.activeElement;
  setTimeout(() => {
    const isOpen = drawer.classList.contains("open"), hasStayed = document.activeElement === before;
    if (isOpen && hasStayed) drawer.querySelector(".lp-presets button").focus();
  }, 300);
}

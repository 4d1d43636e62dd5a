// At the page's start: its language among `known`, as the server would choose it, and the tab that the address names,
// which is Learn where it names a lesson alone. Gives the level on. From then on the address follows tabs and lessons, and
// they follow Back and Forward.
known => level => {
  const spoken = navigator.languages.map(code => code.toLowerCase().split("-")[0]);
  document.documentElement.lang = spoken.find(code => known.includes(code)) ?? "en";
  const named = () =>
    location.hash.slice(1) || (new URLSearchParams(location.search).has("lesson") ? "learn" : "try");
  const button = () => document.getElementById(`${named()}-button`);
  button()?.click();
  document.body.dataset.started = true;
  addEventListener("popstate", () => {
    const isOpen = button()?.getAttribute("aria-selected") === "true";
    (isOpen ? document.querySelector(".lp-came-back") : button())?.click();
  });
  return level;
}

// At the page's start: its language among `known`, as the server would choose it, and the tab that the address names,
// which is Learn where it names a lesson alone. Gives the level on.
known => level => {
  const spoken = navigator.languages.map(code => code.toLowerCase().split("-")[0]);
  document.documentElement.lang = spoken.find(code => known.includes(code)) ?? "en";
  const tab = location.hash.slice(1) || (new URLSearchParams(location.search).has("lesson") ? "learn" : "");
  document.getElementById(`${tab}-button`)?.click();
  document.body.dataset.started = true; // from now on the address follows the tabs
  return level;
}

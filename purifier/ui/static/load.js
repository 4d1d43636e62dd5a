// At the page's start: its language among `known`, as the server would choose it, and the tab that the address names.
// Gives the level on.
known => level => {
  const spoken = navigator.languages.map(code => code.toLowerCase().split("-")[0]);
  document.documentElement.lang = spoken.find(code => known.includes(code)) ?? "en";
  document.getElementById(`${location.hash.slice(1)}-button`)?.click();
  document.body.dataset.started = true; // from now on the address follows the tabs
  return level;
}

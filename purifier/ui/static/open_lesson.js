// The lesson that the address names, else the one that is chosen.
(i, ...others) => {
  const named = new URLSearchParams(location.search).get("lesson");
  return [named === null ? i : Number(named) - 1, ...others];
}

// The lesson that the address names, else the one that is chosen.
i => {
  const named = Number(new URLSearchParams(location.search).get("lesson")) - 1;
  return Number.isInteger(named) && named >= 0 && named <= %d ? named : i;
}

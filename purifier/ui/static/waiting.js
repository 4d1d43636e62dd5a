// What the status says at once, of `said` by language, in that which the server would choose; on a phone, where the
// results are out of sight, it goes there.
said => {
  if (innerWidth < 800) document.querySelector(".lp-strip")?.scrollIntoView({behavior: "smooth"});
  return said[navigator.languages.map(code => code.toLowerCase().split("-")[0]).find(code => code in said) ?? "en"];
}

// What the status says at once, of `said` by language, in that which the server would choose. Where the verdict is out
// of sight, it goes there.
said => {
  const verdict = document.getElementById("lp-verdict"), box = verdict?.getBoundingClientRect();
  if (box && (box.top < 0 || box.bottom > innerHeight)) verdict.scrollIntoView({behavior: "smooth"});
  return said[document.documentElement.lang] ?? said.en;
}

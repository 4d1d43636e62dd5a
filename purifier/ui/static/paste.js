// Gives the picture on the clipboard to the button that opens one; where there is none, `said` says so by language.
async said => {
  try {
    for (const item of await navigator.clipboard.read()) {
      const kind = item.types.find(type => type.startsWith("image/"));
      if (kind) return open(new File([await item.getType(kind)], kind.replace("image/", "pasted."), {type: kind}));
    }
  } catch { /* not allowed, or empty */ }
  return said[document.documentElement.lang] ?? said.en;

  function open(file) {
    dispatchEvent(new CustomEvent("lp-open", {detail: file}));
    return "";
  }
}

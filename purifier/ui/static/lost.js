// Says on every status line, of `said` by language, that the server cannot be reached. Gradio says so in English alone,
// and looks every two seconds whether it answers again.
said => {
  const ask = window.fetch;
  window.fetch = (...given) => ask(...given).catch(error => {
    const text = said[document.documentElement.lang] ?? said.en;
    if (error instanceof TypeError) for (const line of document.querySelectorAll(".lp-status")) line.textContent = text;
    throw error;
  });
}

// The pyramid theatre: shows the frame that its controls choose. A frame is a step of a block; the last is the result.
// Runs once for the HTML component `element`; what it shows comes and goes, so events are caught here. The words are in
// what is shown.
const stage = () => element.querySelector(".lp-theatre");
let playing = null;

function show(frame) {
  const root = stage();
  if (!root) return;
  const captions = [...root.querySelectorAll("[data-caption]")];
  const last = captions.length - 1;
  const now = Math.max(0, Math.min(last, frame));
  root.dataset.frame = now;
  const block = Math.floor(now / 4) + 1, step = now % 4, done = now === last;
  captions.forEach((caption, i) => { caption.hidden = i !== now; });
  root.querySelectorAll("[data-block]").forEach(body => { body.hidden = done || Number(body.dataset.block) !== block; });
  root.querySelector(".lp-acts").hidden = done;
  root.querySelector(".lp-result").hidden = !done;
  root.querySelectorAll("[data-step]").forEach(cell => {
    cell.classList.toggle("lp-later", Number(cell.dataset.step) > step);
    cell.classList.toggle("lp-now", Number(cell.dataset.step) === step);
  });
  const range = root.querySelector("input[data-act=frame]");
  range.value = now;
  range.setAttribute("aria-valuetext", captions[now].innerText);
  root.querySelector("[data-act=back]").disabled = now === 0;
  root.querySelector("[data-act=next]").disabled = done;
  if (done) pause();
}

function pause() {
  clearInterval(playing);
  playing = null;
  const button = element.querySelector("[data-act=play]");
  if (button) button.textContent = button.dataset.play;
}

function play() {
  const root = stage(), last = root.querySelectorAll("[data-caption]").length - 1;
  if (Number(root.dataset.frame) === last) show(0);
  const button = root.querySelector("[data-act=play]");
  button.textContent = button.dataset.pause;
  playing = setInterval(() => stage() ? show(Number(stage().dataset.frame) + 1) : pause(), 1400);
}

element.addEventListener("click", event => {
  const act = event.target.closest("button[data-act]")?.dataset.act;
  if (!act) return;
  const wasPlaying = playing !== null;
  pause();
  if (act === "play" && !wasPlaying) play();
  if (act === "back") show(Number(stage().dataset.frame) - 1);
  if (act === "next") show(Number(stage().dataset.frame) + 1);
});
element.addEventListener("input", event => {
  if (event.target.dataset.act === "frame") { pause(); show(Number(event.target.value)); }
});
watch("value", () => {
  pause();
  show(Number(stage()?.dataset.frame ?? 0));
  if (element.innerText.trim()) element.scrollIntoView({behavior: "smooth"});
});

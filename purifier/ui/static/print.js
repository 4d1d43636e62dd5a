// Puts the teacher's page into a window of its own, and prints it.
element.addEventListener("click", event => {
  if (!event.target.closest(".lp-print")) return;
  const page = window.open("", "_blank");
  page.document.title = document.title;
  page.document.head.insertAdjacentHTML("beforeend", "<style>body { font: 11pt/1.45 serif; max-width: 45em; "
    + "margin: 2em auto; padding: 0 1em } section { break-inside: avoid } .lp-print { display: none }</style>");
  page.document.body.innerHTML = element.querySelector(".lp-teacher").outerHTML;
  page.print();
});

// The address follows the lesson, but not before the page has read it, and Back comes back to the last one.
i => {
  if (!document.body.dataset.started || i === null) return;
  const address = new URL(location);
  address.searchParams.set("lesson", i + 1);
  address.hash = "learn";
  if (address.href !== location.href) history.pushState(null, "", address);
}

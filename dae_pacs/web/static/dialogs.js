// Opens the dialog that a button names (data-opens), and closes the one that a button stands in (data-closes).

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-opens], button[data-closes]");
  if (!button) return;
  if (button.dataset.opens) document.getElementById(button.dataset.opens)?.showModal();
  else button.closest("dialog")?.close();
});

// What was sent once is not sent again by a second click.
document.addEventListener("submit", (event) => {
  const button = event.target.closest("dialog")?.querySelector("button[type=submit]");
  if (button) setTimeout(() => { button.disabled = true; });
});

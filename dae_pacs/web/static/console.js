// What every page shares: the CSRF token for scripts, questions before what can't be taken back, menus.

export const csrfToken = () => document.querySelector('meta[name="csrf-token"]').content;

/** fetch() with the token; a session that is over leads to the log-in page. */
export async function ask(url, options = {}) {
  const headers = new Headers(options.headers);
  headers.set("X-CSRF-Token", csrfToken());
  const response = await fetch(url, { ...options, headers, credentials: "same-origin" });
  if (response.status === 401) {
    location.assign(`/login?next=${encodeURIComponent(location.pathname)}`);
  }
  return response;
}

/** Say something to people who hear the page instead of seeing it. */
export function announce(words) {
  document.getElementById("announcements").textContent = words;
}

document.addEventListener("htmx:configRequest", (event) => {
  event.detail.headers["X-CSRF-Token"] = csrfToken();
  const trigger = event.detail.triggeringEvent;
  if (!trigger || !["click", "submit", "change", "input", "keyup"].includes(trigger.type)) {
    event.detail.headers["X-Live"] = "1"; // refreshes itself: keeps no session alive
  }
});

// Errors come as a part of a page: show them where the answer would have stood.
document.addEventListener("htmx:beforeSwap", (event) => {
  const { xhr } = event.detail;
  if (xhr.status >= 400 && xhr.status !== 401 && xhr.getResponseHeader("Content-Type")?.startsWith("text/html")) {
    event.detail.shouldSwap = true;
    event.detail.isError = false;
  }
});

// A form or button with data-confirm asks first.
document.addEventListener("submit", (event) => {
  const words = event.submitter?.dataset.confirm ?? event.target.dataset.confirm;
  if (words && !event.target.hasAttribute("hx-confirm") && !window.confirm(words)) event.preventDefault();
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});

document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

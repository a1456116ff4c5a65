// Keeps up what depends on the moment: <time data-ago>, <time data-for>, <time data-in>, in seconds since 1970.

const UNITS = [["d", 86400], ["h", 3600], ["min", 60]];

function duration(seconds) {
  for (const [unit, length] of UNITS) {
    if (seconds >= length) return `${Math.round(seconds / length)} ${unit}`;
  }
  return `${Math.max(0, Math.round(seconds))} s`;
}

function words(element, now) {
  const { ago, for: since, in: until } = element.dataset;
  if (ago !== undefined) return `${duration(now - Number(ago))} ago`;
  if (since !== undefined) return `for ${duration(now - Number(since))}`;
  return Number(until) > now ? `in ${duration(Number(until) - now)}` : "now";
}

/** Write every moment below an element as it is now. */
export function refresh(root = document) {
  const now = Date.now() / 1000;
  for (const element of root.querySelectorAll("time[data-ago], time[data-for], time[data-in]")) {
    element.title ||= element.textContent;
    const said = words(element, now);
    if (element.textContent !== said) element.textContent = said;
  }
}

document.addEventListener("htmx:afterSwap", () => refresh());
setInterval(() => { if (!document.hidden) refresh(); }, 1000);
refresh();

// The first page, kept up: news come as server-sent events over fetch(), so that they can say that nobody
// clicked (X-Live) and hear that the session is over; parts of the page are replaced, the chart is drawn anew.

import { refresh } from "./ages.js";
import { colour } from "./colours.js";
import { announce, ask } from "./console.js";

const PAUSE_MS = 2000;
const state = document.getElementById("live-state");
const chartPlace = document.getElementById("chart");
let plot = null;
let troubles = count();

function count() {
  return Number(document.querySelector("#trouble [data-count]")?.dataset.count ?? 0);
}

function say(kind, words) {
  state.dataset.state = kind;
  state.textContent = words;
}

/** Replace a part of the page, unless somebody is in it with the keyboard. */
function put(id, html) {
  const place = document.getElementById(id);
  if (!place || place.contains(document.activeElement)) return;
  place.innerHTML = html;
  window.htmx?.process(place);
  refresh(place);
}

function take(news) {
  for (const [name, part] of Object.entries(news)) {
    if (name === "chart") draw(part);
    else put(name, part);
  }
  if (count() !== troubles) {
    troubles = count();
    announce(troubles ? `${troubles} things need somebody.` : "Nothing needs anybody.");
  }
}

function series(label, stroke, extra = {}) {
  return { label, stroke, width: 2, points: { show: false }, ...extra };
}

function draw(chart) {
  const columns = [chart.at, chart.received, chart.derived, chart.delivered];
  chartPlace.lastChart = chart;
  if (plot) {
    plot.setData(columns);
    return;
  }
  const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
  plot = new window.uPlot({
    width: chartPlace.clientWidth,
    height: 190,
    cursor: { y: false, drag: { x: false, y: false } },
    legend: { show: false },
    scales: { y: { range: (_self, _low, high) => [0, Math.max(5, high * 1.1)] } },
    axes: [
      { ...axis, size: 28, values: (_self, ticks) => ticks.map((at) => new Date(at * 1000).toTimeString().slice(0, 5)) },
      { ...axis, size: 44, values: (_self, ticks) => ticks.map((value) => (Number.isInteger(value) ? value : "")) },
    ],
    series: [
      {},
      series("received", colour("--accent"), { fill: colour("--accent-soft") }),
      series("denoised", colour("--ok")),
      series("delivered", colour("--warn"), { dash: [4, 3] }),
    ],
  }, columns, chartPlace);
}

function redraw() {
  const chart = chartPlace.lastChart;
  plot?.destroy();
  plot = null;
  if (chart) draw(chart);
}

async function listen(signal) {
  const response = await ask("/live", { headers: { "X-Live": "1" }, signal });
  if (!response.ok) throw new Error(response.statusText);
  say("live", "live");
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const events = (held + value).split("\n\n");
    held = events.pop();
    for (const event of events) {
      if (event.startsWith("data: ")) take(JSON.parse(event.slice(6)));
    }
  }
}

/** Listen while the page is seen; a page in the background costs the node nothing. */
async function follow() {
  for (;;) {
    if (document.hidden) {
      say("still", "paused");
      await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
      continue;
    }
    const stop = new AbortController();
    const leave = () => { if (document.hidden) stop.abort(); };
    document.addEventListener("visibilitychange", leave);
    try {
      await listen(stop.signal);
    } catch (error) {
      if (error.name !== "AbortError") {
        say("lost", "no connection, trying again");
        await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
      }
    } finally {
      document.removeEventListener("visibilitychange", leave);
    }
  }
}

draw(JSON.parse(chartPlace.dataset.chart));
new ResizeObserver(() => plot?.setSize({ width: chartPlace.clientWidth, height: 190 })).observe(chartPlace);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
new MutationObserver(redraw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
follow();

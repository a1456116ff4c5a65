// The noise power spectra as a chart. uPlot (MIT) is loaded by the page before.

import { colour } from "../colours.js";

/** Owns a chart; made anew for each set of curves. */
export class Chart {
  constructor(element) {
    this.element = element;
    this.plot = null;
    new ResizeObserver(() => this.fit()).observe(element);
  }

  /** Draw curves over one frequency axis. `curves` are { name, token, values }. */
  draw(frequency, curves, { across, up, isLogarithmic }) {
    this.clear();
    const [ink, line] = [colour("--muted", this.element), colour("--line", this.element)];
    const font = `12px ${getComputedStyle(this.element).fontFamily}`;
    const axis = { stroke: ink, font, labelFont: font, labelSize: 20, grid: { stroke: line, width: 1 }, ticks: { stroke: line } };
    const options = {
      width: Math.max(200, this.element.clientWidth),
      height: 220,
      legend: { live: true },
      cursor: { drag: { x: false, y: false } },
      scales: { x: { time: false }, y: { distr: isLogarithmic ? 3 : 1 } },
      axes: [
        { ...axis, label: across },
        { ...axis, label: up, size: 62, values: (_, ticks) => ticks.map((tick) => (tick === null ? "" : brief(tick))) },
      ],
      series: [
        { label: across, value: (_, value) => (value === null ? "–" : value.toFixed(3)) },
        ...curves.map(({ name, token, dash }) => ({
          label: name,
          stroke: colour(token, this.element),
          width: 2,
          dash,
          points: { show: false },
          value: (_, value) => (value === null || value === undefined ? "–" : brief(value)),
        })),
      ],
    };
    this.plot = new window.uPlot(options, [frequency, ...curves.map((curve) => curve.values)], this.element);
  }

  clear() {
    this.plot?.destroy();
    this.plot = null;
  }

  fit() {
    if (this.plot) this.plot.setSize({ width: Math.max(200, this.element.clientWidth), height: 220 });
  }
}

function brief(value) {
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.01 || size >= 10000)) return value.toExponential(1);
  return String(Number(value.toPrecision(3)));
}

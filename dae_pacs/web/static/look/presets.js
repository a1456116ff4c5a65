// The list of windows: what the image brings along first, then what its values suggest, then customs of the trade.

import { automaticWindow } from "./grey.js";

const CT = [
  ["Brain", 40, 80],
  ["Soft tissue", 40, 400],
  ["Liver", 60, 160],
  ["Lung", -600, 1500],
  ["Bone", 480, 2500],
];

/** List the windows for a frame, each with a name; the first is the one to begin with. */
export function presetsFor(frame) {
  const own = frame.windows.map((window, index) => ({
    ...window,
    label: `${window.name || `Window ${index + 1} of the image`} (${told(window)})`,
  }));
  const tables = frame.tables.map((table, index) => ({
    ...table,
    label: table.name ? `Table: ${table.name}` : `Table ${index + 1} of the image`,
  }));
  const automatic = automaticWindow(frame, frame.stored, frame.padding);
  const found = [...own, ...tables, { ...automatic, label: `Automatic (${told(automatic)})` }];
  if (frame.unit === "HU") {
    for (const [name, centre, width] of CT) {
      const window = { centre, width, function: "LINEAR", name };
      found.push({ ...window, label: `${name} (${told(window)})` });
    }
  }
  return found;
}

/** Centre and width in a few digits, and the function where it is not the usual one. */
export function told({ centre, width, function: name }) {
  const words = { SIGMOID: ", sigmoid", LINEAR_EXACT: "", LINEAR: "" };
  return `${short(centre)} / ${short(width)}${words[name] ?? ""}`;
}

/** A number in at most four significant digits, without an exponent where that reads well. */
export function short(value) {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 1e7)) return value.toExponential(2);
  return String(Number(value.toPrecision(Math.max(4, Math.floor(Math.log10(size || 1)) + 1))));
}

/** A window changed by dragging so many pixels: across its width, down its centre (the darker). */
export function dragged(window, dx, dy) {
  const least = window.function === "LINEAR" ? 2 : Number.EPSILON;
  const width = Math.max(window.width * Math.exp(dx / 200), least);
  return { ...window, width, centre: window.centre + (dy / 400) * window.width, name: "", label: "Set by hand" };
}

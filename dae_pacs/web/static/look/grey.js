// From stored values to greys on the screen: Modality LUT, window or VOI LUT, inversion (PS3.3 C.11.1, C.11.2).
//
// Values of up to 16 bits go through one table of 65,536 greys, made anew for each window; wider ones and floats
// through a table over the window alone. Until then nothing is rounded.

const CELLS = 65536;
const OPAQUE = 0xff000000; // RGBA as a little endian uint32

/** Say what a stored value means in the modality's unit. */
export function valueOf(frame, stored) {
  const table = frame.modality_table;
  if (table === null) return stored * frame.slope + frame.intercept;
  const place = Math.min(Math.max(stored - table.first, 0), table.entries.length - 1);
  return table.entries[place];
}

/** Make the function from a value to a grey of 0..1, before any inversion. */
export function greyOf(voi) {
  if (voi.entries) return tableGrey(voi);
  const { centre, width } = voi;
  if (voi.function === "SIGMOID") return (x) => 1 / (1 + Math.exp((-4 * (x - centre)) / width));
  if (voi.function === "LINEAR_EXACT") return (x) => clamped((x - centre) / width + 0.5);
  if (width <= 1) return (x) => (x <= centre - 0.5 ? 0 : 1);
  return (x) => clamped((x - (centre - 0.5)) / (width - 1) + 0.5);
}

function tableGrey({ first, bits, entries }) {
  const top = 2 ** bits - 1;
  return (x) => entries[Math.min(Math.max(Math.round(x) - first, 0), entries.length - 1)] / top;
}

function clamped(share) {
  return share < 0 ? 0 : share > 1 ? 1 : share;
}

function pixel(share, isInverse) {
  const level = Math.round(255 * (isInverse ? 1 - share : share));
  return (OPAQUE | (level << 16) | (level << 8) | level) >>> 0;
}

/** Whether a frame's values are the indices of one table. */
export function isShort(frame) {
  return ["u1", "i1", "u2", "i2"].includes(frame.type);
}

/** Make the table of a window for stored values of up to 16 bits: RGBA by the value's own bits. */
export function shortTable(frame, voi, isInverse) {
  const grey = greyOf(voi);
  const table = new Uint32Array(CELLS);
  const isSigned = frame.type[0] === "i";
  const cells = frame.type[1] === "1" ? 256 : CELLS;
  const half = cells / 2;
  for (let bits = 0; bits < cells; bits += 1) {
    const stored = isSigned && bits >= half ? bits - cells : bits;
    table[bits] = pixel(grey(valueOf(frame, stored)), isInverse);
  }
  return table;
}

/** Render stored values into RGBA through a window. `pixels` is a Uint32Array as long as `stored`. */
export function render(frame, stored, voi, isInverse, pixels) {
  if (isShort(frame)) {
    const table = shortTable(frame, voi, isInverse);
    const bits =
      stored.BYTES_PER_ELEMENT === 1
        ? new Uint8Array(stored.buffer, stored.byteOffset, stored.length)
        : new Uint16Array(stored.buffer, stored.byteOffset, stored.length);
    for (let i = 0; i < bits.length; i += 1) pixels[i] = table[bits[i]];
    return;
  }
  renderValues(stored, frame, greyOf(voi), spanOf(voi), isInverse, pixels);
}

/** Say between which values a window's greys change. */
export function spanOf(voi) {
  if (voi.entries) return [voi.first, voi.first + voi.entries.length - 1];
  const reach = voi.function === "SIGMOID" ? 2.5 * voi.width : 0.5 * voi.width + 1;
  return [voi.centre - reach, voi.centre + reach];
}

/** Render wide or floating values: their place within the window's span is the index of a table. */
function renderValues(stored, frame, grey, [low, high], isInverse, pixels) {
  const step = (high - low) / (CELLS - 1) || 1;
  const table = new Uint32Array(CELLS);
  for (let i = 0; i < CELLS; i += 1) table[i] = pixel(grey(low + i * step), isInverse);
  const isPlain = frame.modality_table === null;
  const scale = frame.slope / step;
  const offset = (frame.intercept - low) / step + 0.5;
  for (let i = 0; i < stored.length; i += 1) {
    const place = isPlain ? stored[i] * scale + offset : (valueOf(frame, stored[i]) - low) / step + 0.5;
    // NaN fails both comparisons and is shown like the lowest value.
    pixels[i] = table[place >= CELLS ? CELLS - 1 : place > 0 ? place | 0 : 0];
  }
}

/** The window that shows all but the outermost half percent at each end: what is shown where none is given. */
export function automaticWindow(frame, stored, padding) {
  const sample = [];
  const step = Math.max(1, Math.floor(stored.length / 50000));
  for (let i = 0; i < stored.length; i += step) {
    const value = stored[i];
    const isPadding = padding && value >= padding[0] && value <= padding[1];
    if (Number.isFinite(value) && !isPadding) sample.push(valueOf(frame, value));
  }
  sample.sort((a, b) => a - b);
  if (!sample.length) return { centre: 0, width: 1, function: "LINEAR_EXACT", name: "" };
  const at = (share) => sample[Math.min(sample.length - 1, Math.floor(share * sample.length))];
  const [low, high] = [at(0.005), at(0.995)];
  return { centre: (low + high) / 2, width: high - low || 1, function: "LINEAR_EXACT", name: "automatic" };
}

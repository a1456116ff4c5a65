// Any strength from one pass of the network: what noise.vst.change does in the node, done here.
//
//   out = inverse(z + s d) + (1 - (1 - s)^2) min(|s d| / (0.1 s), 1) miss(z + s d)
//
// z is the stabilised original, d the network's clamped change in sigmas; where d is 0 the pixel stays, bit for bit.

/** Find how many of increasing numbers lie below a value: numpy.searchsorted, side "left". */
function below(numbers, value) {
  let low = 0;
  let high = numbers.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (numbers[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Stabilise one value. */
export function forward(t, x) {
  const piece = below(t.x, x);
  const start = piece > 0 ? piece - 1 : 0;
  const step = x - t.x[start];
  const root = t.root[piece];
  const reached = Math.sqrt(Math.max(root * root + t.slope[piece] * step, 0));
  return t.z[start] + (2 * step) / (root + reached);
}

/** Undo it. */
export function backward(t, z) {
  const piece = below(t.z, z);
  const start = piece > 0 ? piece - 1 : 0;
  const step = z - t.z[start];
  return t.x[start] + step * (t.root[piece] + (t.slope[piece] * step) / 4);
}

/** Read the inverse's bias at z, constant beyond the table's ends. */
export function miss(t, z) {
  const known = t.expected;
  const last = known.length - 1;
  if (z <= known[0]) return t.miss[0];
  if (z >= known[last]) return t.miss[last];
  const right = below(known, z);
  const gap = known[right] - known[right - 1];
  const share = gap > 0 ? (z - known[right - 1]) / gap : 0;
  return t.miss[right - 1] + share * (t.miss[right] - t.miss[right - 1]);
}

const PER_SIGMA = 16; // entries of the tables; between them the inverse is nearly a straight line
const MOST_ENTRIES = 1 << 20;

/** Tabulate what does not depend on the strength: each pixel's z, the inverse, and its bias. */
function tabulate(x, { transform: t }) {
  const z = new Float32Array(x.length);
  let [low, high] = [Infinity, -Infinity];
  for (let i = 0; i < x.length; i += 1) {
    z[i] = forward(t, x[i]);
    if (z[i] < low) low = z[i];
    if (z[i] > high) high = z[i];
  }
  const start = low - 4; // the clamp is 3 sigma
  const count = Math.ceil((high + 4 - start) * PER_SIGMA) + 2;
  if (!(count <= MOST_ENTRIES)) return { z, start, inverse: null, bias: null };
  const [inverse, bias] = [new Float64Array(count), new Float64Array(count)];
  for (let k = 0; k < count; k += 1) {
    inverse[k] = backward(t, start + k / PER_SIGMA);
    bias[k] = miss(t, start + k / PER_SIGMA);
  }
  return { z, start, inverse, bias };
}

/** Blend a whole frame at a strength.
 *
 * @param x values in the modality's unit, float32; the same for each call with one preview.
 * @param preview what the node's preview holds: stored (int16 steps), step_sigma, transform; its tables are kept.
 * @param strength 0..1
 * @returns float32 values in the same unit.
 */
export function blend(x, preview, strength) {
  if (strength <= 0) return x;
  preview.tables ??= tabulate(x, preview);
  const { z, start, inverse, bias } = preview.tables;
  const { transform: t, stored, step_sigma: size } = preview;
  const share = 1 - (1 - strength) ** 2;
  const out = new Float32Array(x.length);
  for (let i = 0; i < x.length; i += 1) {
    const step = strength * stored[i] * size;
    if (step === 0) {
      out[i] = x[i];
      continue;
    }
    const weight = share * Math.min(Math.abs(step) / (0.1 * strength), 1);
    if (inverse === null) {
      out[i] = backward(t, z[i] + step) + weight * miss(t, z[i] + step);
      continue;
    }
    const place = (z[i] + step - start) * PER_SIGMA;
    const k = place | 0;
    const f = place - k;
    const restored = inverse[k] + f * (inverse[k + 1] - inverse[k]);
    out[i] = restored + weight * (bias[k] + f * (bias[k + 1] - bias[k]));
  }
  return out;
}

/** Turn blended values into a frame that is drawn and measured like any other: in whole stored values, as the
 * node would store them, where the original is stored so. */
export function asFrame(original, values) {
  if (original.lowest === null || original.modality_table !== null) {
    const plain = { type: "f4", slope: 1, intercept: 0, modality_table: null };
    return { ...original, ...plain, stored: values };
  }
  const { slope, intercept, lowest, highest } = original;
  const stored = original.stored.slice();
  for (let i = 0; i < stored.length; i += 1) {
    const back = (values[i] - intercept) / slope;
    stored[i] = Math.min(highest, Math.max(lowest, halfToEven(back)));
  }
  return { ...original, stored };
}

/** Round as numpy.rint does. */
function halfToEven(value) {
  const near = Math.round(value);
  return Math.abs(value - Math.trunc(value)) === 0.5 && near % 2 !== 0 ? near - 1 : near;
}

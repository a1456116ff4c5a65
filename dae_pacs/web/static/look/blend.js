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

/** Blend a whole frame at a strength.
 *
 * @param x values in the modality's unit, float32.
 * @param preview what the node's preview holds: stored (int16 steps), step_sigma, transform.
 * @param strength 0..1
 * @returns float32 values in the same unit.
 */
export function blend(x, preview, strength) {
  if (strength <= 0) return x;
  const { transform: t, stored, step_sigma: size } = preview;
  const share = 1 - (1 - strength) ** 2;
  const s = Math.fround(strength);
  const out = new Float32Array(x.length);
  for (let i = 0; i < x.length; i += 1) {
    if (stored[i] === 0) {
      out[i] = x[i];
      continue;
    }
    const old = Math.fround(forward(t, x[i]));
    const z = Math.fround(old + Math.fround(s * Math.fround(stored[i] * size)));
    const moved = Math.min(Math.abs(z - old) / (0.1 * strength), 1);
    out[i] = z === old ? x[i] : backward(t, z) + share * moved * miss(t, z);
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

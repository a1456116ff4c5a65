// What was removed: original minus denoised, in the modality's unit or in standard deviations of the noise there.

import { valueOf } from "./grey.js";

const OPAQUE = 0xff000000;
const SAMPLE = 20000;

/** Turn a frame's stored values into the modality's unit, (rows x columns) float32. */
export function valuesOf(frame) {
  const values = new Float32Array(frame.stored.length);
  if (frame.modality_table === null) {
    const { slope, intercept, stored } = frame;
    for (let i = 0; i < values.length; i += 1) values[i] = stored[i] * slope + intercept;
  } else {
    for (let i = 0; i < values.length; i += 1) values[i] = valueOf(frame, frame.stored[i]);
  }
  return values;
}

/** Make the function from a signal to the standard deviation of its noise: linear in variance between levels. */
export function sigmaOf(noise) {
  const { levels, variances } = noise;
  const last = levels.length - 1;
  return (x) => {
    if (!(x > levels[0])) return Math.sqrt(variances[0]);
    if (x >= levels[last]) return Math.sqrt(variances[last]);
    let k = 1;
    while (levels[k] < x) k += 1;
    const share = (x - levels[k - 1]) / (levels[k] - levels[k - 1]);
    return Math.sqrt(variances[k - 1] + share * (variances[k] - variances[k - 1]));
  };
}

/** Subtract; with a noise model in units of the noise at the denoised value. Both are in the modality's unit. */
export function difference(original, denoised, noise) {
  const removed = new Float32Array(original.length);
  const sigma = noise ? sigmaOf(noise) : null;
  for (let i = 0; i < removed.length; i += 1) {
    const gone = original[i] - denoised[i];
    removed[i] = sigma ? gone / sigma(denoised[i]) : gone;
  }
  return removed;
}

/** A scale that holds nearly all of it: the 99.5th percentile of its size, as a number that reads well. */
export function scaleFor(removed) {
  const sizes = [];
  const step = Math.max(1, Math.floor(removed.length / SAMPLE));
  for (let i = 0; i < removed.length; i += step) {
    if (Number.isFinite(removed[i]) && removed[i] !== 0) sizes.push(Math.abs(removed[i]));
  }
  if (!sizes.length) return 1;
  sizes.sort((a, b) => a - b);
  return rounded(sizes[Math.floor(0.995 * (sizes.length - 1))]);
}

/** The next of 1, 2, 5 times a power of ten. */
export function rounded(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 5, 10].find((digit) => digit * power >= value * 0.999);
}

/** Fill pixels: mid grey is nothing removed, white and black are plus and minus `scale`. */
export function paintRemoved(removed, scale, pixels) {
  for (let i = 0; i < removed.length; i += 1) {
    const share = Math.min(1, Math.max(-1, removed[i] / scale || 0));
    const level = Math.round(127.5 + 127.5 * share);
    pixels[i] = (OPAQUE | (level << 16) | (level << 8) | level) >>> 0;
  }
}

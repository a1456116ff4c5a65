// The noise power spectrum under a rectangle, IEC 62220-1-1:2015 and ICRU Report 87:
//
//   NPS(u, v) = (dx dy / (N N M)) sum over M squares of |FFT(I - S)|^2
//
// S is a polynomial of the second order fitted to the whole rectangle; the squares have N pixels a side and
// overlap by half. Its integral over all frequencies is the variance of the detrended values.

export const LEAST_SIDE = 16;
export const MOST_SIDE = 256;

/** The side of the squares for a rectangle: the largest power of two that fits; 0 where none does. */
export function sideFor(width, height) {
  const room = Math.min(width, height, MOST_SIDE);
  return room < LEAST_SIDE ? 0 : 2 ** Math.floor(Math.log2(room));
}

/** Transform in place, real and imaginary parts of a power of two. */
export function fft(re, im) {
  const n = re.length;
  for (let i = 1, j = 0; i < n; i += 1) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [re[i], re[j]] = [re[j], re[i]];
      [im[i], im[j]] = [im[j], im[i]];
    }
  }
  for (let size = 2; size <= n; size *= 2) {
    const half = size / 2;
    for (let k = 0; k < half; k += 1) {
      const angle = (-2 * Math.PI * k) / size;
      const [c, s] = [Math.cos(angle), Math.sin(angle)];
      for (let a = k; a < n; a += size) {
        const b = a + half;
        const [tr, ti] = [re[b] * c - im[b] * s, re[b] * s + im[b] * c];
        re[b] = re[a] - tr;
        im[b] = im[a] - ti;
        re[a] += tr;
        im[a] += ti;
      }
    }
  }
}

/** Subtract the second-order polynomial that fits best, in place. Values row by row. */
export function detrend(values, width, height) {
  const terms = (i) => {
    const x = (i % width) / width - 0.5;
    const y = Math.floor(i / width) / height - 0.5;
    return [1, x, y, x * x, x * y, y * y];
  };
  const size = 6;
  const normal = Array.from({ length: size }, () => new Float64Array(size + 1));
  for (let i = 0; i < values.length; i += 1) {
    const t = terms(i);
    for (let r = 0; r < size; r += 1) {
      for (let c = 0; c < size; c += 1) normal[r][c] += t[r] * t[c];
      normal[r][size] += t[r] * values[i];
    }
  }
  const factors = solve(normal);
  for (let i = 0; i < values.length; i += 1) {
    const t = terms(i);
    for (let r = 0; r < size; r += 1) values[i] -= factors[r] * t[r];
  }
}

/** Solve linear equations, each row with its right side last, by elimination with pivots. */
function solve(rows) {
  const n = rows.length;
  for (let k = 0; k < n; k += 1) {
    let pivot = k;
    for (let r = k + 1; r < n; r += 1) if (Math.abs(rows[r][k]) > Math.abs(rows[pivot][k])) pivot = r;
    [rows[k], rows[pivot]] = [rows[pivot], rows[k]];
    for (let r = 0; r < n; r += 1) {
      if (r === k) continue;
      const factor = rows[r][k] / rows[k][k];
      for (let c = k; c <= n; c += 1) rows[r][c] -= factor * rows[k][c];
    }
  }
  return rows.map((row, k) => row[n] / row[k]);
}

/** Measure the two-dimensional spectrum.
 *
 * @param values under the rectangle, row by row; they are not changed.
 * @param spacing pixel size between rows and columns, in mm (or 1, 1 for pixels).
 * @returns side N, and NPS in unit^2 mm^2, N x N, frequency 0 first; null where the rectangle is too small.
 */
export function spectrum(values, width, height, spacing) {
  const side = sideFor(width, height);
  if (!side || !values.every(Number.isFinite)) return null;
  const flat = Float64Array.from(values);
  detrend(flat, width, height);
  const power = new Float64Array(side * side);
  let squares = 0;
  for (let top = 0; top + side <= height; top += side / 2) {
    for (let left = 0; left + side <= width; left += side / 2) {
      addPower(flat, width, left, top, side, power);
      squares += 1;
    }
  }
  const scale = (spacing[0] * spacing[1]) / (side * side * squares);
  for (let i = 0; i < power.length; i += 1) power[i] *= scale;
  return { side, squares, power };
}

function addPower(values, width, left, top, side, power) {
  const re = new Float64Array(side * side);
  const im = new Float64Array(side * side);
  for (let row = 0; row < side; row += 1) {
    const start = (top + row) * width + left;
    re.set(values.subarray(start, start + side), row * side);
    fft(re.subarray(row * side, (row + 1) * side), im.subarray(row * side, (row + 1) * side));
  }
  const [colRe, colIm] = [new Float64Array(side), new Float64Array(side)];
  for (let column = 0; column < side; column += 1) {
    for (let row = 0; row < side; row += 1) {
      colRe[row] = re[row * side + column];
      colIm[row] = im[row * side + column];
    }
    fft(colRe, colIm);
    for (let row = 0; row < side; row += 1) power[row * side + column] += colRe[row] ** 2 + colIm[row] ** 2;
  }
}

/** Average over directions, in rings as wide as the finest frequency step, up to the lower Nyquist frequency.
 *
 * @returns frequencies in cycles/mm (or cycles/pixel), without 0, and the power there.
 */
export function radial({ side, power }, spacing) {
  const steps = spacing.map((mm) => 1 / (side * mm));
  const width = Math.max(...steps);
  const rings = Math.floor(Math.min(...spacing.map((mm) => 0.5 / mm)) / width + 1e-9);
  const [sums, counts] = [new Float64Array(rings + 1), new Float64Array(rings + 1)];
  for (let row = 0; row < side; row += 1) {
    const v = (row <= side / 2 ? row : row - side) * steps[0];
    for (let column = 0; column < side; column += 1) {
      const u = (column <= side / 2 ? column : column - side) * steps[1];
      const ring = Math.round(Math.hypot(u, v) / width);
      if (ring > rings) continue;
      sums[ring] += power[row * side + column];
      counts[ring] += 1;
    }
  }
  const frequency = [];
  const average = [];
  for (let ring = 1; ring <= rings; ring += 1) {
    frequency.push(ring * width);
    average.push(sums[ring] / counts[ring]);
  }
  return { frequency, average };
}

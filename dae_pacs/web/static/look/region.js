// Mean and standard deviation under a rectangle.

/** Cut a rectangle of whole pixels to the image; null where nothing is left. */
export function cut(rectangle, columns, rows) {
  const left = Math.max(0, Math.min(columns, Math.round(Math.min(rectangle.x0, rectangle.x1))));
  const right = Math.max(0, Math.min(columns, Math.round(Math.max(rectangle.x0, rectangle.x1))));
  const top = Math.max(0, Math.min(rows, Math.round(Math.min(rectangle.y0, rectangle.y1))));
  const bottom = Math.max(0, Math.min(rows, Math.round(Math.max(rectangle.y0, rectangle.y1))));
  if (right - left < 1 || bottom - top < 1) return null;
  return { left, top, width: right - left, height: bottom - top };
}

/** Take the values under a rectangle out of an image, row by row. */
export function under(values, columns, { left, top, width, height }) {
  const found = new Float64Array(width * height);
  for (let row = 0; row < height; row += 1) {
    const start = (top + row) * columns + left;
    for (let column = 0; column < width; column += 1) found[row * width + column] = values[start + column];
  }
  return found;
}

/** Mean, and standard deviation with n - 1 degrees of freedom, of what is finite. */
export function statistics(values) {
  let count = 0;
  let mean = 0;
  let squares = 0;
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    count += 1;
    const step = value - mean;
    mean += step / count;
    squares += step * (value - mean);
  }
  return { count, mean: count ? mean : NaN, deviation: count > 1 ? Math.sqrt(squares / (count - 1)) : NaN };
}

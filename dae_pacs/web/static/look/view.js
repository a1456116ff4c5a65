// Where the image lies in a pane: scale, centre, and the way between the two. All panes share one view.

export const MOST_ZOOM = 64;
export const LEAST_ZOOM = 1 / 64;

/** Owns scale (device pixels for the width of an image pixel) and the image point at the panes' centre. */
export class View {
  constructor() {
    this.columns = 1;
    this.rows = 1;
    this.aspect = 1;
    this.isFitted = true;
    this.scale = 1;
    this.x = 0.5;
    this.y = 0.5;
  }

  /** Take on an image; one of another size or shape of pixels is shown whole. */
  setImage(columns, rows, aspect) {
    if (columns === this.columns && rows === this.rows && aspect === this.aspect) return;
    Object.assign(this, { columns, rows, aspect, isFitted: true });
  }

  /** Show the whole image in a pane of so many device pixels. */
  fit(width, height) {
    this.isFitted = true;
    this.scale = Math.min(width / this.columns, height / (this.rows * this.aspect));
    this.x = this.columns / 2;
    this.y = this.rows / 2;
  }

  /** One image pixel for one device pixel (across, where pixels are not square). */
  oneToOne() {
    this.isFitted = false;
    this.scale = 1;
  }

  /** Zoom by a factor about a point of a pane, both in device pixels. */
  zoom(factor, atX, atY, width, height) {
    const before = this.toImage(atX, atY, width, height);
    this.isFitted = false;
    this.scale = Math.min(MOST_ZOOM, Math.max(LEAST_ZOOM, this.scale * factor));
    const after = this.toImage(atX, atY, width, height);
    this.x += before.x - after.x;
    this.y += before.y - after.y;
    this.hold();
  }

  /** Move the image by device pixels. */
  pan(dx, dy) {
    this.isFitted = false;
    this.x -= dx / this.scale;
    this.y -= dy / (this.scale * this.aspect);
    this.hold();
  }

  /** Some of the image stays in sight. */
  hold() {
    this.x = Math.min(this.columns, Math.max(0, this.x));
    this.y = Math.min(this.rows, Math.max(0, this.y));
  }

  /** The rectangle that the image covers in a pane, in device pixels; on whole ones, so that 1:1 is 1:1. */
  place(width, height) {
    const w = this.columns * this.scale;
    const h = this.rows * this.scale * this.aspect;
    return {
      left: Math.round(width / 2 - this.x * this.scale),
      top: Math.round(height / 2 - this.y * this.scale * this.aspect),
      width: w,
      height: h,
    };
  }

  /** Which image point lies under a point of a pane. */
  toImage(atX, atY, width, height) {
    const at = this.place(width, height);
    return { x: (atX - at.left) / this.scale, y: (atY - at.top) / (this.scale * this.aspect) };
  }
}

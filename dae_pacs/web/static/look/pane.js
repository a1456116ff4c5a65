// One pane: a canvas that shows one bitmap, or two divided by the wipe, and the rectangle on top.

/** Owns a canvas and what is drawn on it. */
export class Pane {
  constructor(canvas, view) {
    this.canvas = canvas;
    this.view = view;
    this.context = canvas.getContext("2d", { alpha: false });
    this.layers = { first: null, second: null, wipe: 1 };
    this.rectangle = null;
    this.isDue = false;
  }

  /** Take the size that the page gives it, in device pixels; true where that changed. */
  resize() {
    const ratio = window.devicePixelRatio || 1;
    const width = Math.max(1, Math.round(this.canvas.clientWidth * ratio));
    const height = Math.max(1, Math.round(this.canvas.clientHeight * ratio));
    if (width === this.canvas.width && height === this.canvas.height) return false;
    this.canvas.width = width;
    this.canvas.height = height;
    return true;
  }

  /** Show bitmaps: `second` to the right of the share `wipe` of the pane's width. */
  show({ first, second = null, wipe = 1 }) {
    this.layers = { first, second, wipe };
    this.redraw();
  }

  /** Draw at the next frame of the screen, once. */
  redraw() {
    if (this.isDue) return;
    this.isDue = true;
    requestAnimationFrame(() => {
      this.isDue = false;
      this.draw();
    });
  }

  draw() {
    const { context, canvas, view } = this;
    const { first, second, wipe } = this.layers;
    const at = view.place(canvas.width, canvas.height);
    context.fillStyle = "#000";
    context.fillRect(0, 0, canvas.width, canvas.height);
    // What lies where, for tests and for people with a ruler.
    Object.assign(canvas.dataset, { left: at.left, top: at.top, scale: view.scale });
    if (first) this.put(first, at, 0, second ? wipe * canvas.width : canvas.width);
    if (second) {
      const edge = Math.round(wipe * canvas.width);
      this.put(second, at, edge, canvas.width);
      this.line(edge);
    }
    if (this.rectangle) this.outline(at);
  }

  put(bitmap, at, from, to) {
    const { context } = this;
    const left = Math.round(from);
    context.save();
    context.beginPath();
    context.rect(left, 0, Math.round(to) - left, this.canvas.height);
    context.clip();
    // Enlarged pixels stay squares, as they were measured; reduced ones are averaged.
    context.imageSmoothingEnabled = this.view.scale < 1 || this.view.scale * this.view.aspect < 1;
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, at.left, at.top, at.width, at.height);
    context.restore();
  }

  line(edge) {
    const { context, canvas } = this;
    context.fillStyle = "#000";
    context.fillRect(edge - 2, 0, 4, canvas.height);
    context.fillStyle = "#ffd257";
    context.fillRect(edge - 1, 0, 2, canvas.height);
  }

  outline(at) {
    const { context, view, rectangle } = this;
    const x = at.left + rectangle.left * view.scale;
    const y = at.top + rectangle.top * view.scale * view.aspect;
    const w = rectangle.width * view.scale;
    const h = rectangle.height * view.scale * view.aspect;
    const thick = Math.max(1, Math.round(window.devicePixelRatio || 1));
    context.lineWidth = 3 * thick;
    context.strokeStyle = "#000";
    context.strokeRect(x, y, w, h);
    context.lineWidth = thick;
    context.strokeStyle = "#ffd257";
    context.strokeRect(x, y, w, h);
  }
}

// The panes and the one view that they share: size, zoom, place.

const PUSH_PX = 60;

/** Owns the panes' common view. */
export class Stage {
  constructor(view, panes, tellZoom) {
    Object.assign(this, { view, panes, tellZoom });
    this.all = Object.values(panes);
  }

  /** Draw every pane anew, with a rectangle on it or none. */
  redraw(rectangle = this.rectangle) {
    this.rectangle = rectangle;
    for (const pane of this.all) {
      pane.rectangle = rectangle;
      pane.redraw();
    }
    this.tellZoom(this.view);
  }

  resize() {
    let hasChanged = false;
    for (const pane of this.all) hasChanged = pane.resize() || hasChanged;
    if (hasChanged && this.view.isFitted) this.fit();
    else if (hasChanged) this.redraw();
  }

  /** Show the whole image in every pane that is in sight. */
  fit() {
    const seen = this.all.filter((pane) => pane.canvas.clientWidth > 0).map((pane) => pane.canvas);
    if (!seen.length) return;
    this.view.fit(Math.min(...seen.map((one) => one.width)), Math.min(...seen.map((one) => one.height)));
    this.redraw();
  }

  oneToOne() {
    this.view.oneToOne();
    this.redraw();
  }

  zoomBy(factor) {
    const { width, height } = this.panes.main.canvas;
    this.zoomAt(factor, width / 2, height / 2, this.panes.main.canvas);
  }

  zoomAt(factor, x, y, { width, height }) {
    this.view.zoom(factor, x, y, width, height);
    this.redraw();
  }

  pan(dx, dy) {
    this.view.pan(dx, dy);
    this.redraw();
  }

  push(key) {
    const [x, y] = { h: [1, 0], l: [-1, 0], k: [0, 1], j: [0, -1] }[key];
    this.pan(x * PUSH_PX, y * PUSH_PX);
  }
}

// A frame as a bitmap at its own size, made anew when its window changes.

import { render } from "./grey.js";

/** Owns a bitmap. */
export class Picture {
  constructor() {
    this.canvas = document.createElement("canvas");
    this.context = this.canvas.getContext("2d", { alpha: false });
    this.data = null;
  }

  /** Draw a frame through a window. */
  draw(frame, voi, isInverse) {
    this.paint(frame.columns, frame.rows, (pixels) => render(frame, frame.stored, voi, isInverse, pixels));
  }

  /** Let a function fill the pixels, RGBA as uint32. */
  paint(columns, rows, fill) {
    if (this.canvas.width !== columns || this.canvas.height !== rows || !this.data) {
      this.canvas.width = columns;
      this.canvas.height = rows;
      this.data = new ImageData(columns, rows);
    }
    fill(new Uint32Array(this.data.data.buffer));
    this.context.putImageData(this.data, 0, 0);
  }
}

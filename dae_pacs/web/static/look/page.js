// The page's state and what can be done with it. Controls, keys and gestures all end here.

import { spanOf } from "./grey.js";
import { dragged, presetsFor } from "./presets.js";
import { Picture } from "./picture.js";
import { cut } from "./region.js";
import { difference, paintRemoved, scaleFor, valuesOf } from "./removed.js";
import { Strength } from "./strength.js";

const CENTRAL_SHARE = 0.25;

/** Owns what is shown: which slice, through which window, how, and how strongly denoised. */
export class Page {
  constructor({ frames, live, stage, panel, measures }) {
    Object.assign(this, { frames, stage, panel, measures });
    this.live = new Strength(live);
    this.pictures = { original: new Picture(), denoised: new Picture(), removed: new Picture() };
    this.series = null;
    this.made = null;
    this.places = []; // [image, frame] of every slice
    this.position = 0;
    this.now = null; // what is on the screen: frames, values
    this.mode = "wipe";
    this.tool = "window";
    this.wipe = 0.5;
    this.isBlinkedOff = false;
    this.isInverted = false;
    this.preset = 0;
    this.window = null; // set by hand; null: the preset's
    this.isInSigma = false;
    this.scale = null; // of the removed part; null: chosen from it
    this.rectangle = null;
    this.turn = 0;
    this.isDue = false;
  }

  /** Take on a series of the study. */
  async openSeries(series) {
    this.series = series;
    const previous = this.made?.model;
    const denoised = series.made.filter((made) => made.kind === "denoised");
    this.made = denoised.find((made) => made.model === previous) ?? denoised[0] ?? null;
    this.places = series.images.flatMap(({ id, frames }) => Array.from({ length: frames }, (_, frame) => [id, frame]));
    Object.assign(this, { preset: 0, window: null, rectangle: null, scale: null, now: null });
    this.stage.redraw(null);
    this.live.value = null;
    this.panel.tellSeries(this, denoised);
    await this.goTo(Math.floor((this.places.length - 1) / 2), { isNew: true });
  }

  async openMade(made) {
    this.made = made;
    this.live.value = null;
    this.scale = null;
    this.panel.tellStrength(this);
    await this.goTo(this.position);
  }

  /** Show a slice or frame; one that comes after it overtakes it. */
  async goTo(position, { isNew = false } = {}) {
    if (!this.places.length) return;
    this.position = Math.min(this.places.length - 1, Math.max(0, position));
    const turn = (this.turn += 1);
    this.panel.tellPosition(this);
    const [image, frame] = this.places[this.position];
    const derived = this.made?.images[image];
    this.panel.setBusy(true);
    const [original, denoised] = await Promise.allSettled([
      this.frames.get(image, frame),
      derived === undefined ? Promise.resolve(null) : this.frames.get(derived, frame),
    ]);
    if (turn !== this.turn) return;
    this.panel.setBusy(false);
    if (original.status === "rejected") {
      this.refuse(original.reason);
      return;
    }
    this.panel.tellTrouble(denoised.status === "rejected" ? denoised.reason.message : "");
    this.take(original.value, denoised.value ?? null, isNew);
    this.fetchAhead();
    if (this.strength !== null) await this.setStrength(this.strength);
  }

  refuse(problem) {
    this.now = null;
    this.panel.tellTrouble(problem.message);
    for (const pane of this.stage.all) pane.show({ first: null });
    this.measures.tell(null);
  }

  take(original, denoised, isNew) {
    const fits = denoised && denoised.rows === original.rows && denoised.columns === original.columns;
    this.now = { original, stored: fits ? denoised : null, denoised: fits ? denoised : null };
    this.now.before = valuesOf(original);
    this.now.presets = presetsFor(original);
    this.preset = Math.min(this.preset, this.now.presets.length - 1);
    this.stage.view.setImage(original.columns, original.rows, original.aspect);
    if (isNew || this.stage.view.isFitted) this.stage.fit();
    this.panel.tellPresets(this);
    this.compare();
  }

  /** Put another denoised image into the place of the one that is shown. */
  showDenoised(frame) {
    this.now.denoised = frame;
    this.compare();
  }

  /** Do all that follows from another denoised image. */
  compare() {
    const { now } = this;
    now.after = now.denoised ? valuesOf(now.denoised) : null;
    this.drawImages();
    this.drawRemoved();
    this.measure();
    this.panel.tellShown(this);
  }

  /** The live strength, or null. */
  get strength() {
    return this.live.value;
  }

  get voi() {
    return this.window ?? this.now.presets[this.preset];
  }

  drawImages() {
    if (!this.now) return;
    const { original, denoised } = this.now;
    const isInverse = original.is_inverse !== this.isInverted;
    this.pictures.original.draw(original, this.voi, isInverse);
    if (denoised) this.pictures.denoised.draw(denoised, this.voi, isInverse);
    this.panel.tellWindow(this);
    this.arrange();
  }

  /** Draw at the next frame of the screen, once: a mouse tells of its way more often. */
  drawSoon() {
    if (this.isDue) return;
    this.isDue = true;
    requestAnimationFrame(() => {
      this.isDue = false;
      this.drawImages();
    });
  }

  drawRemoved() {
    const { now, made } = this;
    if (!now?.after) return;
    const noise = this.isInSigma ? made?.noise : null;
    now.removed = difference(now.before, now.after, noise);
    now.scale = this.scale ?? (noise ? 3 : scaleFor(now.removed));
    const { columns, rows } = now.original;
    this.pictures.removed.paint(columns, rows, (pixels) => paintRemoved(now.removed, now.scale, pixels));
    this.panel.tellRemoved(this);
    this.arrange();
  }

  /** Put the bitmaps into the panes. */
  arrange() {
    if (!this.now) return;
    const { main, second, removed } = this.stage.panes;
    const original = this.pictures.original.canvas;
    const denoised = this.now.denoised ? this.pictures.denoised.canvas : null;
    if (this.mode === "wipe" && denoised) main.show({ first: original, second: denoised, wipe: this.wipe });
    else if (this.mode === "blink") main.show({ first: this.isBlinkedOff && denoised ? denoised : original });
    else main.show({ first: original });
    second.show({ first: this.mode === "side" ? denoised : null });
    removed.show({ first: denoised ? this.pictures.removed.canvas : null });
    this.panel.tellLabels(this);
  }

  fetchAhead() {
    const next = [1, 2, -1, 3, 4].map((step) => this.places[this.position + step]).filter(Boolean);
    const derived = next.map(([image, frame]) => [this.made?.images[image], frame]);
    this.frames.ahead([...next, ...derived.filter(([image]) => image !== undefined)]);
  }

  // Slices

  step(by) {
    if (this.places.length > 1) return this.goTo(this.position + by);
    return undefined;
  }

  // How it is compared

  setMode(mode) {
    this.mode = mode;
    this.isBlinkedOff = false;
    this.panel.tellMode(this);
    this.stage.resize();
    this.arrange();
  }

  blink() {
    if (this.mode !== "blink") this.setMode("blink");
    this.isBlinkedOff = !this.isBlinkedOff;
    this.arrange();
  }

  setWipe(share) {
    this.wipe = Math.min(1, Math.max(0, share));
    this.panel.tellWipe(this);
    this.arrange();
  }

  // Grey levels

  choosePreset(index) {
    if (index < 0 || !this.now) return;
    this.preset = index;
    this.window = null;
    this.drawImages();
  }

  setWindow(centre, width) {
    this.window = { ...dragged(this.plainWindow(), 0, 0), centre, width };
    this.drawImages();
  }

  dragWindow(dx, dy) {
    if (!this.now) return;
    this.window = dragged(this.plainWindow(), dx, dy);
    this.drawSoon();
  }

  /** The window at work; of a table, the window over all of it. */
  plainWindow() {
    const { voi } = this;
    if (!voi.entries) return voi;
    const [low, high] = spanOf(voi);
    return { centre: (low + high) / 2, width: high - low || 1, function: "LINEAR_EXACT" };
  }

  invert() {
    this.isInverted = !this.isInverted;
    this.panel.tellInverted(this);
    this.drawImages();
  }

  // The removed part

  setScale(scale) {
    this.scale = scale;
    this.drawRemoved();
  }

  toggleUnit() {
    if (this.made?.noise) this.setUnit(!this.isInSigma);
  }

  setUnit(isInSigma) {
    this.isInSigma = isInSigma;
    this.scale = null;
    this.drawRemoved();
  }

  // Strength

  changeStrength(by) {
    const from = this.strength ?? this.panel.storedStrength(this);
    return this.setStrength(Math.min(1, Math.max(0, Math.round((from + by) * 100) / 100)));
  }

  /** Blend at a strength; null shows the series as it is stored. */
  setStrength(strength) {
    return this.live.set(this, strength);
  }

  // Place and measure

  setTool(tool) {
    this.tool = tool;
    this.panel.tellTool(this);
  }

  setRectangle(rectangle) {
    if (!this.now) return;
    this.rectangle = rectangle && cut(rectangle, this.now.original.columns, this.now.original.rows);
    this.stage.redraw(this.rectangle);
    this.measure();
  }

  centralRectangle() {
    if (!this.now) return;
    const { columns, rows } = this.now.original;
    const half = Math.min(Math.max(32, Math.min(columns, rows) * CENTRAL_SHARE), columns, rows) / 2;
    const [x, y] = [columns / 2, rows / 2];
    this.setRectangle({ x0: x - half, x1: x + half, y0: y - half, y1: y + half });
  }

  measure() {
    if (!this.now) return;
    const { original, before, after } = this.now;
    this.measures.tell(this.rectangle, { frame: original, original: before, denoised: after }, this.made?.noise);
  }
}

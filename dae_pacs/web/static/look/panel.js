// The controls and words beside the images. They tell the page what is wanted, and show what it says.

import { short, told } from "./presets.js";
import { unitWords } from "./measure.js";
import { fillLegend } from "./keys.js";

/** Owns the controls of the page. */
export class Panel {
  constructor(root) {
    this.root = root;
    this.parts = {};
    for (const part of root.querySelectorAll("[data-part]")) this.parts[part.dataset.part] = part;
    fillLegend(this.parts.legend);
  }

  /** Connect every control with the page. */
  connect(page, study) {
    const { parts } = this;
    const on = (part, event, act) => parts[part].addEventListener(event, act);
    for (const [index, series] of study.series.entries()) {
      const number = series.SeriesNumber === null ? "" : `${series.SeriesNumber}: `;
      parts.series.add(new Option(`${number}${series.description || series.Modality || "series"}`, index));
    }
    on("series", "change", () => page.openSeries(study.series[parts.series.value]));
    on("made", "change", () => page.openMade(this.choices[parts.made.value]));
    on("slice", "input", () => page.goTo(Number(parts.slice.value) - 1));
    on("mode", "change", (event) => page.setMode(event.target.value));
    on("tool", "change", (event) => page.setTool(event.target.value));
    on("wipe", "input", () => page.setWipe(Number(parts.wipe.value) / 100));
    on("preset", "change", () => page.choosePreset(Number(parts.preset.value)));
    for (const part of ["centre", "width"]) on(part, "change", () => this.readWindow(page));
    on("invert", "change", () => page.invert());
    on("strength", "input", () => page.setStrength(Number(parts.strength.value) / 100));
    on("asStored", "click", () => page.setStrength(null));
    on("unit", "change", (event) => page.setUnit(event.target.value === "sigma"));
    on("scale", "change", () => page.setScale(Number(parts.scale.value) > 0 ? Number(parts.scale.value) : null));
    on("fit", "click", () => page.stage.fit());
    on("oneToOne", "click", () => page.stage.oneToOne());
    on("larger", "click", () => page.stage.zoomBy(1.25));
    on("smaller", "click", () => page.stage.zoomBy(0.8));
    on("central", "click", () => page.centralRectangle());
    on("noRectangle", "click", () => page.setRectangle(null));
    on("blinkNow", "click", () => page.blink());
    on("keys", "click", () => this.showKeys());
    on("closeKeys", "click", () => parts.keyList.close());
  }

  readWindow(page) {
    const [centre, width] = [Number(this.parts.centre.value), Number(this.parts.width.value)];
    if (Number.isFinite(centre) && width > 0) page.setWindow(centre, width);
    else this.tellWindow(page);
  }

  tellSeries(page, denoised) {
    const { parts } = this;
    this.choices = denoised;
    parts.made.replaceChildren(
      ...denoised.map((made, index) => new Option(made.description || `${made.model}, job ${made.job}`, index)),
    );
    parts.made.disabled = denoised.length === 0;
    if (!denoised.length) parts.made.add(new Option("nothing was denoised", 0));
    parts.made.value = Math.max(0, denoised.indexOf(page.made));
    parts.slice.max = page.places.length;
    parts.slice.closest("[data-row]").hidden = page.places.length < 2;
    const { left_out: left } = page.series;
    parts.leftOut.textContent = left ? `${left} object(s) of the series are no grey images and are not shown.` : "";
    parts.sigma.disabled = !page.made?.noise;
    this.tellMode(page);
    this.tellStrength(page);
  }

  tellPosition(page) {
    const { parts } = this;
    parts.slice.value = page.position + 1;
    parts.position.textContent = `${page.position + 1} of ${page.places.length}`;
  }

  setBusy(isBusy) {
    this.root.setAttribute("aria-busy", String(isBusy));
  }

  tellTrouble(words) {
    this.parts.trouble.textContent = words;
    this.parts.trouble.hidden = !words;
  }

  tellPresets({ now, preset, window }) {
    const { parts } = this;
    parts.preset.replaceChildren(...now.presets.map(({ label }, index) => new Option(label, index)));
    parts.preset.add(new Option("Set by hand", -1));
    parts.preset.options[now.presets.length].hidden = window === null;
    parts.preset.value = window === null ? preset : -1;
  }

  tellWindow(page) {
    const { parts } = this;
    const plain = page.plainWindow();
    if (document.activeElement !== parts.centre) parts.centre.value = short(plain.centre);
    if (document.activeElement !== parts.width) parts.width.value = short(plain.width);
    parts.preset.options[page.now.presets.length].hidden = page.window === null;
    parts.preset.value = page.window === null ? page.preset : -1;
    const { unit, is_lossy: isLossy } = page.now.original;
    parts.windowNote.textContent = `in ${unitWords(unit)}`;
    parts.overlayWindow.textContent = page.voi.entries ? page.voi.label : `C/W ${told(page.voi)} ${unit}`;
    parts.lossy.hidden = !isLossy;
  }

  tellInverted({ isInverted }) {
    this.parts.invert.checked = isInverted;
  }

  tellMode({ mode }) {
    for (const input of this.parts.mode.querySelectorAll("input")) input.checked = input.value === mode;
    this.root.dataset.mode = mode;
    this.parts.wipe.closest("[data-row]").hidden = mode !== "wipe";
    this.parts.blinkNow.hidden = mode !== "blink";
  }

  tellTool({ tool }) {
    for (const input of this.parts.tool.querySelectorAll("input")) input.checked = input.value === tool;
    this.root.dataset.tool = tool;
  }

  tellWipe({ wipe }) {
    this.parts.wipe.value = Math.round(wipe * 100);
  }

  /** The strength that the stored series was made with, as far as its job says. */
  storedStrength({ made }) {
    return made?.strength ?? 0.8;
  }

  tellStrength(page, problem = "") {
    const { parts } = this;
    const { made, strength, now } = page;
    parts.strength.disabled = !made;
    const shown = strength ?? this.storedStrength(page);
    parts.strength.value = Math.round(shown * 100);
    parts.asStored.hidden = strength === null;
    const image = page.places[page.position]?.[0];
    const isBlended = strength !== null && now && image !== undefined;
    if (problem) parts.strengthNote.textContent = `No live strength: ${problem}`;
    else if (!made) parts.strengthNote.textContent = "No series was denoised, so there is nothing to blend.";
    else if (isBlended) parts.strengthNote.textContent = `Strength ${shown.toFixed(2)}, blended here; nothing is stored.`;
    else {
      const as = made.strength === null ? "at the model's own strength" : `at strength ${made.strength.toFixed(2)}`;
      parts.strengthNote.textContent = `The stored series, ${as}. Move the slider to try another.`;
    }
    parts.strengthNote.classList.toggle("warn-words", Boolean(problem));
  }

  tellWaiting(seconds) {
    this.parts.strengthNote.textContent = `The model is looking at this image, ${Math.round(seconds)} s so far…`;
  }

  tellRemoved(page) {
    const { parts } = this;
    const isInSigma = page.isInSigma && page.made?.noise;
    const unit = isInSigma ? "σ of the local noise" : unitWords(page.now.original.unit);
    parts.scaleNote.textContent = unit;
    parts.inUnit.checked = !isInSigma;
    parts.sigma.checked = Boolean(isInSigma);
    if (document.activeElement !== parts.scale) parts.scale.value = short(page.now.scale);
    const label = isInSigma ? "σ" : page.now.original.unit;
    parts.overlayScale.textContent = `± ${short(page.now.scale)} ${label}`;
    const { noise } = page.made;
    const origins = {
      estimate: "The noise was measured on the series.",
      fallback: "The noise could not be measured on the series; a cautious bound stands in for it.",
    };
    parts.noiseNote.textContent = noise ? (origins[noise.origin] ?? "") : "The noise of this series is not known.";
  }

  tellLabels(page) {
    const { parts, root } = this;
    const { mode, isBlinkedOff, now, strength } = page;
    const denoised = strength === null ? "denoised" : `denoised, live at ${strength.toFixed(2)}`;
    const isWiped = mode === "wipe" && now.denoised;
    parts.labelLeft.textContent = mode === "blink" && isBlinkedOff && now.denoised ? denoised : "original";
    parts.labelRight.textContent = isWiped ? denoised : "";
    parts.labelSecond.textContent = denoised;
    root.dataset.denoised = String(Boolean(now.denoised));
  }

  tellShown(page) {
    const { parts } = this;
    const [image, frame] = page.places[page.position];
    const { frames, number } = page.series.images.find((found) => found.id === image);
    const words = [number === null ? "" : `instance ${number}`, frames > 1 ? `frame ${frame + 1}` : ""];
    parts.which.textContent = words.filter(Boolean).join(", ");
    const isMissing = !page.now.denoised && page.made;
    if (isMissing && parts.trouble.hidden) this.tellTrouble("There is no denoised image of this one.");
    Object.assign(this.root.dataset, { image, frame, turn: page.turn, strength: page.strength ?? "" });
  }

  tellZoom(view) {
    const share = view.scale >= 0.995 && view.scale <= 1.005 ? "1:1" : `${Math.round(view.scale * 100)} %`;
    this.parts.overlayZoom.textContent = share;
  }

  /** Say what lies under the pointer; null where it points at nothing. */
  tellAt(found) {
    this.parts.at.textContent = found
      ? `column ${found.column}, row ${found.row}: ${found.values.map(([name, value]) => `${name} ${short(value)}`).join(", ")}`
      : "";
  }

  showKeys() {
    this.parts.keyList.showModal();
  }
}

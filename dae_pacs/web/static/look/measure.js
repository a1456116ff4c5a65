// What stands beside the images once a rectangle is drawn: means, deviations, their ratio, and spectra.

import { Chart } from "./chart.js";
import { radial, sideFor, spectrum } from "./nps.js";
import { short } from "./presets.js";
import { statistics, under } from "./region.js";
import { sigmaOf } from "./removed.js";

/** Owns the table and the chart of a rectangle. */
export class Measures {
  constructor(root) {
    this.root = root;
    this.rows = root.querySelector("[data-rows]");
    this.note = root.querySelector("[data-note]");
    this.npsNote = root.querySelector("[data-nps-note]");
    this.isLogarithmic = root.querySelector("[data-logarithmic]");
    this.chart = new Chart(root.querySelector("[data-chart]"));
    this.isLogarithmic.addEventListener("change", () => this.last && this.tellSpectra(...this.last));
  }

  /** Measure under a rectangle.
   *
   * @param rectangle of whole pixels, or null
   * @param images { frame, original, denoised }: values in the modality's unit; denoised may be null
   * @param noise the job's noise model, or null
   */
  tell(rectangle, images, noise) {
    this.root.hidden = rectangle === null;
    if (rectangle === null) return;
    const { frame, original, denoised } = images;
    const before = under(original, frame.columns, rectangle);
    const after = denoised ? under(denoised, frame.columns, rectangle) : null;
    const found = { before: statistics(before), after: after && statistics(after) };
    if (after) found.removed = statistics(before.map((value, i) => value - after[i]));
    this.tellNumbers(rectangle, frame, found, noise);
    this.last = [rectangle, frame, before, after];
    this.tellSpectra(...this.last);
  }

  tellNumbers(rectangle, frame, { before, after, removed }, noise) {
    const lines = [["Original", before]];
    if (after) lines.push(["Denoised", after], ["Removed", removed]);
    const rows = lines.map(([name, { mean, deviation }]) => row(name, mean, deviation));
    if (after) rows.push(row("Denoised / original", after.mean / before.mean, after.deviation / before.deviation));
    this.rows.replaceChildren(...rows);
    const size = `${rectangle.width} × ${rectangle.height} pixels at column ${rectangle.left}, row ${rectangle.top}`;
    const expected = noise
      ? ` The job's noise model expects a deviation of ${short(sigmaOf(noise)(before.mean))} at the original's mean.`
      : "";
    this.note.textContent = `${size}; values in ${unitWords(frame.unit)}.${expected}`;
    Object.assign(this.root.dataset, {
      beforeMean: before.mean,
      beforeDeviation: before.deviation,
      afterMean: after?.mean ?? "",
      afterDeviation: after?.deviation ?? "",
    });
  }

  tellSpectra(rectangle, frame, before, after) {
    const spacing = frame.spacing_mm ?? [1, frame.spacing_mm ? 1 : 1 / frame.aspect];
    const side = sideFor(rectangle.width, rectangle.height);
    const first = side ? spectrum(before, rectangle.width, rectangle.height, spacing) : null;
    if (!first) {
      this.chart.clear();
      this.npsNote.textContent = "A spectrum needs at least 16 × 16 pixels, all of them numbers.";
      return;
    }
    const second = after ? spectrum(after, rectangle.width, rectangle.height, spacing) : null;
    const { frequency, average } = radial(first, spacing);
    const curves = [{ name: "Original", token: "--curve-before", values: average }];
    if (second) {
      const { average: values } = radial(second, spacing);
      curves.push({ name: "Denoised", token: "--curve-after", dash: [6, 4], values });
    }
    const isLogarithmic = this.isLogarithmic.checked;
    for (const curve of curves) if (isLogarithmic) curve.values = curve.values.map((value) => (value > 0 ? value : null));
    const length = frame.spacing_mm ? "mm" : "pixel";
    this.chart.draw(frequency, curves, {
      across: `Spatial frequency (cycles/${length})`,
      up: `NPS (${unitWords(frame.unit)}² ${length}²)`,
      isLogarithmic,
    });
    this.curves = { frequency, curves };
    const where = frame.spacing_mm ? ` ${frame.spacing_from}.` : " The image gives no pixel size.";
    this.npsNote.textContent =
      `${first.squares === 1 ? "1 square" : `${first.squares} squares, half overlapping,`} of ${side} × ${side} pixels; second-order trend of the ` +
      `rectangle removed (IEC 62220-1-1); averaged over all directions.${where}`;
  }
}

function row(name, ...numbers) {
  const made = document.createElement("tr");
  const head = document.createElement("th");
  head.scope = "row";
  head.textContent = name;
  made.append(head);
  for (const number of numbers) {
    const cell = document.createElement("td");
    cell.className = "number";
    cell.textContent = short(number);
    made.append(cell);
  }
  return made;
}

/** The unit for people: DICOM's US is "unspecified". */
export function unitWords(unit) {
  return { US: "unspecified units", grey: "grey levels" }[unit] ?? unit;
}

// The keys of the page, in one list: what they do, and the legend that says so.

const STEP = 0.02; // of the wipe and of the strength

/** Every key with its words; `run` gets the page's actions. */
export const KEYS = [
  { keys: [" "], label: "Space", words: "Blink: original and denoised in turn", run: (page) => page.blink() },
  { keys: ["1"], label: "1", words: "Wipe", run: (page) => page.setMode("wipe") },
  { keys: ["2"], label: "2", words: "Blink", run: (page) => page.setMode("blink") },
  { keys: ["3"], label: "3", words: "Side by side", run: (page) => page.setMode("side") },
  { keys: [",", "<"], label: ",", words: "Wipe to the left", run: (page) => page.setWipe(page.wipe - STEP) },
  { keys: [".", ">"], label: ".", words: "Wipe to the right", run: (page) => page.setWipe(page.wipe + STEP) },
  { keys: ["PageDown", "n"], label: "Page ↓, n", words: "Next slice or frame", run: (page) => page.step(1) },
  { keys: ["PageUp", "p"], label: "Page ↑, p", words: "Slice or frame before", run: (page) => page.step(-1) },
  { keys: ["Home"], label: "Home", words: "First slice", run: (page) => page.goTo(0) },
  { keys: ["End"], label: "End", words: "Last slice", run: (page) => page.goTo(Infinity) },
  { keys: ["ArrowLeft"], label: "←", words: "Narrower window", run: (page) => page.dragWindow(-10, 0) },
  { keys: ["ArrowRight"], label: "→", words: "Wider window", run: (page) => page.dragWindow(10, 0) },
  { keys: ["ArrowUp"], label: "↑", words: "Lower level", run: (page) => page.dragWindow(0, -10) },
  { keys: ["ArrowDown"], label: "↓", words: "Higher level", run: (page) => page.dragWindow(0, 10) },
  { keys: ["0"], label: "0", words: "The image's own window", run: (page) => page.choosePreset(0) },
  { keys: ["i"], label: "i", words: "Invert", run: (page) => page.invert() },
  { keys: ["+", "="], label: "+", words: "Larger", run: (page) => page.stage.zoomBy(1.25) },
  { keys: ["-"], label: "-", words: "Smaller", run: (page) => page.stage.zoomBy(0.8) },
  { keys: ["f"], label: "f", words: "Whole image", run: (page) => page.stage.fit() },
  { keys: ["o"], label: "o", words: "One image pixel for one of the screen", run: (page) => page.stage.oneToOne() },
  { keys: ["h", "j", "k", "l"], label: "h j k l", words: "Move the image", run: (page, key) => page.stage.push(key) },
  { keys: ["w"], label: "w", words: "Drag sets the window", run: (page) => page.setTool("window") },
  { keys: ["m"], label: "m", words: "Drag moves the image", run: (page) => page.setTool("pan") },
  { keys: ["r"], label: "r", words: "Drag draws a rectangle", run: (page) => page.setTool("rectangle") },
  { keys: ["c"], label: "c", words: "Rectangle in the middle", run: (page) => page.centralRectangle() },
  { keys: ["["], label: "[", words: "Less strength", run: (page) => page.changeStrength(-STEP) },
  { keys: ["]"], label: "]", words: "More strength", run: (page) => page.changeStrength(STEP) },
  { keys: ["u"], label: "u", words: "Removed part in its unit, or in sigmas", run: (page) => page.toggleUnit() },
  { keys: ["?"], label: "?", words: "This list", run: (page) => page.panel.showKeys() },
];

/** Listen to the whole page, but for keys that a control of it needs itself. */
export function listenToKeys(page) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTaken(event)) return;
    const found = KEYS.find((entry) => entry.keys.includes(event.key));
    if (!found) return;
    event.preventDefault();
    found.run(page, event.key);
  });
}

function isTaken(event) {
  const target = event.target;
  if (target.closest("dialog[open]")) return true;
  if (target.matches("input[type=text], input[type=number], textarea, select")) return true;
  const isControl = target.matches("button, a, summary, input");
  if (isControl && [" ", "Enter"].includes(event.key)) return true;
  const own = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End", "PageUp", "PageDown"];
  return target.matches("input") && own.includes(event.key);
}

/** Fill the legend: a description list. */
export function fillLegend(list) {
  for (const { label, words } of KEYS) {
    const row = document.createElement("div");
    const term = document.createElement("dt");
    const key = document.createElement("kbd");
    key.textContent = label;
    term.append(key);
    const description = document.createElement("dd");
    description.textContent = words;
    row.append(term, description);
    list.append(row);
  }
}

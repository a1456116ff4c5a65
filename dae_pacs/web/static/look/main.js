// The Look page: reads what there is of the study, puts the parts together, and starts.

import { ask, Frames, Refusal } from "./frames.js";
import { listen, WHEEL_ZOOM } from "./gestures.js";
import { listenToKeys } from "./keys.js";
import { Live } from "./live.js";
import { Measures } from "./measure.js";
import { Page } from "./page.js";
import { Pane } from "./pane.js";
import { Panel } from "./panel.js";
import { Stage } from "./stage.js";
import { View } from "./view.js";

async function start() {
  const root = document.getElementById("look");
  const { base } = root.dataset;
  const panel = new Panel(root);
  const view = new View();
  const [main, second, removed] = ["main", "second", "removed"].map(
    (name) => new Pane(root.querySelector(`canvas[data-pane=${name}]`), view),
  );
  const stage = new Stage(view, { main, second, removed }, (seen) => panel.tellZoom(seen));
  const measures = new Measures(root.querySelector("[data-measures]"));
  const page = new Page({ frames: new Frames(base), live: new Live(base), stage, panel, measures });
  let study;
  try {
    study = await (await ask(`${base}/pairs`)).json();
  } catch (problem) {
    if (!(problem instanceof Refusal)) throw problem;
    panel.tellTrouble(problem.message);
    return;
  }
  if (!study.series.length) {
    panel.tellTrouble("The spool holds no grey images of this study any more.");
    return;
  }
  panel.connect(page, study);
  for (const pane of stage.all) connectPane(pane, page, panel);
  listenToKeys(page);
  const observer = new ResizeObserver(() => stage.resize());
  for (const pane of stage.all) observer.observe(pane.canvas);
  page.setMode("wipe");
  page.setTool("window");
  await page.openSeries(study.series[0]);
}

/** Let gestures on a pane act on the page; device pixels from here on. */
function connectPane(pane, page, panel) {
  const { canvas, view } = pane;
  const { stage } = page;
  const ratio = () => canvas.width / Math.max(1, canvas.clientWidth);
  const toImage = (x, y) => view.toImage(x * ratio(), y * ratio(), canvas.width, canvas.height);
  const isWiped = () => pane === stage.panes.main && page.mode === "wipe" && Boolean(page.now?.denoised);
  listen(canvas, {
    tool: () => page.tool,
    wipeAt: () => (isWiped() ? page.wipe : null),
    act: {
      window: (dx, dy) => page.dragWindow(dx, dy),
      pan: (dx, dy) => stage.pan(dx * ratio(), dy * ratio()),
      zoom: (factor, x, y) => stage.zoomAt(factor, x * ratio(), y * ratio(), canvas),
      rectangle: (x0, y0, x1, y1) => {
        const [a, b] = [toImage(x0, y0), toImage(x1, y1)];
        page.setRectangle({ x0: a.x, y0: a.y, x1: b.x, y1: b.y });
      },
      wipe: (share) => page.setWipe(share),
      slice: (step, at) => {
        if (page.places.length > 1) page.step(step);
        else stage.zoomAt(step < 0 ? WHEEL_ZOOM : 1 / WHEEL_ZOOM, at.x * ratio(), at.y * ratio(), canvas);
      },
      at: (x, y) => panel.tellAt(valuesAt(page, toImage(x, y))),
    },
  });
  canvas.addEventListener("pointerleave", () => panel.tellAt(null));
}

function valuesAt({ now }, { x, y }) {
  if (!now) return null;
  const [column, row] = [Math.floor(x), Math.floor(y)];
  const { columns, rows } = now.original;
  if (column < 0 || row < 0 || column >= columns || row >= rows) return null;
  const place = row * columns + column;
  const values = [["original", now.before[place]]];
  if (now.after) values.push(["denoised", now.after[place]], ["removed", now.before[place] - now.after[place]]);
  return { column, row, values };
}

start();

// Mouse, pen and fingers on a pane, turned into what is meant: window, pan, zoom, rectangle, wipe, slice.

const GRIP_PX = 14; // how near the wipe's line a press takes hold of it
export const WHEEL_ZOOM = 1.15;
const LINE_PX = 40; // what some mice call one line of the wheel

/** Listen on a canvas.
 *
 * @param canvas of a pane
 * @param tool gives the tool that a plain drag has: "window", "pan" or "rectangle"
 * @param wipeAt gives the wipe's place as a share of the width, or null where there is none
 * @param act what to do: window(dx, dy), pan(dx, dy), zoom(factor, x, y), rectangle(x0, y0, x1, y1),
 *   wipe(share), slice(step), at(x, y); all in CSS pixels of the canvas
 */
export function listen(canvas, { tool, wipeAt, act }) {
  const pointers = new Map();
  let doing = null;
  let begin = null;
  let spread = 0;
  let rolled = 0;

  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };

  canvas.addEventListener("pointerdown", (event) => {
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, place(event));
    if (pointers.size === 2) {
      doing = "pinch";
      spread = distance(pointers);
    } else if (pointers.size === 1) {
      begin = place(event);
      doing = meant(event, begin, canvas, tool(), wipeAt());
    }
    event.preventDefault();
  });

  canvas.addEventListener("pointermove", (event) => {
    const now = place(event);
    const before = pointers.get(event.pointerId);
    if (!before) {
      act.at(now.x, now.y);
      canvas.style.cursor = isNearWipe(now, canvas, wipeAt()) ? "col-resize" : "";
      return;
    }
    const [dx, dy] = [now.x - before.x, now.y - before.y];
    pointers.set(event.pointerId, now);
    if (doing === "pinch") {
      const wider = distance(pointers);
      const middle = centre(pointers);
      act.pan(dx / 2, dy / 2);
      if (spread > 0 && wider > 0) act.zoom(wider / spread, middle.x, middle.y);
      spread = wider;
    } else if (doing === "wipe") act.wipe(now.x / canvas.clientWidth);
    else if (doing === "rectangle") act.rectangle(begin.x, begin.y, now.x, now.y);
    else if (doing === "pan") act.pan(dx, dy);
    else if (doing === "window") act.window(dx, dy);
    act.at(now.x, now.y);
  });

  const end = (event) => {
    // The finger that is left of a pinch does nothing, or the image would jump.
    if (pointers.delete(event.pointerId)) doing = null;
  };
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", end);
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());

  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const at = place(event);
      if (event.ctrlKey || event.metaKey) {
        act.zoom(event.deltaY < 0 ? WHEEL_ZOOM : 1 / WHEEL_ZOOM, at.x, at.y);
        return;
      }
      rolled += event.deltaMode === 0 ? event.deltaY : event.deltaY * LINE_PX;
      const steps = Math.trunc(rolled / LINE_PX);
      if (steps) {
        rolled -= steps * LINE_PX;
        act.slice(Math.sign(steps), at);
      }
    },
    { passive: false },
  );
}

function meant(event, at, canvas, tool, wipe) {
  if (event.button === 1 || event.shiftKey) return "pan";
  if (event.button === 2) return "window";
  if (isNearWipe(at, canvas, wipe)) return "wipe";
  return tool;
}

function isNearWipe(at, canvas, wipe) {
  return wipe !== null && Math.abs(at.x - wipe * canvas.clientWidth) < GRIP_PX;
}

function distance(pointers) {
  const [a, b] = [...pointers.values()];
  return Math.hypot(a.x - b.x, a.y - b.y);
}

function centre(pointers) {
  const [a, b] = [...pointers.values()];
  return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
}

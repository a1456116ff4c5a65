// Run in the browser by look.py: how long a new window and a new strength take, by the page's own modules.
async (changes) => {
  const { Picture } = await import("/look/picture.js");
  const { Pane } = await import("/look/pane.js");
  const { View } = await import("/look/view.js");
  const { blend, asFrame } = await import("/look/blend.js");
  const { valuesOf } = await import("/look/removed.js");
  const [rows, columns] = [3000, 2500];
  const stored = Uint16Array.from({ length: rows * columns }, (_, i) => 8000 + 7000 * Math.sin(i / 9e5) + 500 * Math.random());
  const frame = { rows, columns, stored, type: "u2", slope: 1, intercept: 0, modality_table: null, lowest: 0, highest: 65535 };
  const canvas = document.createElement("canvas");
  Object.assign(canvas.style, { width: "700px", height: "840px", display: "block" });
  document.body.append(canvas);
  const view = new View();
  const pane = new Pane(canvas, view);
  pane.resize();
  view.setImage(columns, rows, 1);
  view.fit(canvas.width, canvas.height);
  const [first, second] = [new Picture(), new Picture()];
  const show = (pictures, centre, images) => {
    pictures.forEach((picture, i) => picture.draw(images[i], { centre, width: 9000, function: "LINEAR" }, false));
    pane.layers = { first: pictures[0].canvas, second: pictures[1]?.canvas ?? null, wipe: 0.5 };
    pane.draw();
    pane.context.getImageData(0, 0, 1, 1);
  };
  const times = (act) => Array.from({ length: changes }, (_, k) => {
    const begun = performance.now();
    act(k);
    return performance.now() - begun;
  });
  const grid = Array.from({ length: 2048 }, (_, k) => -70 + k / 10);
  const transform = { x: [0, 16000], z: [-60, 60], root: [8, 8, 200], slope: [0, 2.5, 0], expected: grid, miss: grid.map(() => 0.3) };
  const preview = { transform, step_sigma: 3 / 32767, stored: Int16Array.from(stored, () => 60000 * (Math.random() - 0.5)) };
  const x = valuesOf(frame);
  return {
    one: times((k) => show([first], 8000 + 50 * k, [frame])),
    both: times((k) => show([first, second], 8000 + 50 * k, [frame, frame])),
    blend: times((k) => asFrame(frame, blend(x, preview, 0.5 + k / 100))),
  };
}

// Strength by slider: asks the node once a frame for what the model would take, and blends here.

import { ask, Refusal, unpack } from "./frames.js";

const POLL_MS = 700;
const MOST_KEPT = 8;
const PATIENCE_MS = 10 * 60 * 1000;

/** Owns the previews that were fetched. */
export class Live {
  constructor(base) {
    this.base = base;
    this.held = new Map(); // key: what the node gave
    this.wanted = null;
    this.coming = null; // the promise of it
  }

  /** Give a preview that is here, or null. */
  known(image, frame, job) {
    return this.held.get(`${image}/${frame}/${job}`) ?? null;
  }

  /** Fetch a preview, asking again until it is made; null where another one is wanted by then.
   *
   * @param tell is told how long it has taken, in seconds
   */
  get(image, frame, job, tell) {
    const key = `${image}/${frame}/${job}`;
    if (this.held.has(key)) return Promise.resolve(this.held.get(key));
    if (this.wanted !== key || !this.coming) {
      this.wanted = key;
      this.coming = this.poll(key, tell).finally(() => {
        if (this.wanted === key) this.stop();
      });
    }
    return this.coming;
  }

  async poll(key, tell) {
    const begun = performance.now();
    while (this.wanted === key) {
      const response = await ask(`${this.base}/previews/${key}`);
      if (response.status === 200) {
        this.keep(key, unpack(await response.arrayBuffer()));
        return this.held.get(key);
      }
      const passed = performance.now() - begun;
      if (passed > PATIENCE_MS) throw new Refusal("The preview took longer than ten minutes; try again later.");
      tell(passed / 1000);
      await new Promise((resume) => setTimeout(resume, POLL_MS));
    }
    return null;
  }

  /** Stop asking. */
  stop() {
    this.wanted = null;
    this.coming = null;
  }

  keep(key, preview) {
    this.held.set(key, preview);
    while (this.held.size > MOST_KEPT) this.held.delete(this.held.keys().next().value);
  }
}

// The strength that is shown: that of the stored series, or another one, blended here.

import { asFrame, blend } from "./blend.js";

/** Owns the live strength: null shows the series as it is stored. */
export class Strength {
  constructor(live) {
    this.live = live;
    this.value = null;
  }

  /** Choose a strength for what the page shows; the page is told when its image is there. */
  async set(page, value) {
    this.value = value;
    page.panel.tellStrength(page);
    if (!page.now || !page.made) return;
    if (value === null) {
      this.live.stop();
      page.showDenoised(page.now.stored);
      return;
    }
    const { turn } = page;
    const preview = await this.previewFor(page);
    // Of many movements of the slider meanwhile, the last one counts.
    if (!preview || turn !== page.turn || this.value !== value) return;
    page.panel.tellStrength(page);
    page.showDenoised(asFrame(page.now.original, blend(page.now.before, preview, this.value)));
  }

  async previewFor(page) {
    const [image, frame] = page.places[page.position];
    const { job } = page.made;
    const known = this.live.known(image, frame, job);
    if (known) return known;
    page.panel.tellWaiting(0);
    try {
      return await this.live.get(image, frame, job, (seconds) => page.panel.tellWaiting(seconds));
    } catch (problem) {
      this.value = null;
      page.panel.tellStrength(page, problem.message);
      return null;
    }
  }
}

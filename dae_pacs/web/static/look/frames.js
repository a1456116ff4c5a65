// Frames from the node: fetched once, kept while there is room, and the next ones fetched ahead.

const ARRAYS = {
  u1: Uint8Array,
  i1: Int8Array,
  u2: Uint16Array,
  i2: Int16Array,
  u4: Uint32Array,
  i4: Int32Array,
  f4: Float32Array,
  f8: Float64Array,
};
const MOST_BYTES = 384 * 1024 * 1024;

/** What the node said instead of an image, in its own words. */
export class Refusal extends Error {}

/** Take a body of dae_pacs.image.packet apart: what it means, and its values. */
export function unpack(body) {
  const length = new DataView(body).getUint32(4, true);
  const meaning = JSON.parse(new TextDecoder().decode(new Uint8Array(body, 8, length)));
  return { ...meaning, stored: new ARRAYS[meaning.type](body, 8 + length) };
}

/** Fetch, and turn whatever goes wrong into words. */
export async function ask(url, options = {}) {
  let response;
  try {
    response = await fetch(url, { credentials: "same-origin", ...options });
  } catch (problem) {
    if (problem.name === "AbortError") throw problem;
    throw new Refusal("The node does not answer. Is it running, and is the network there?");
  }
  if (response.ok) return response;
  if (response.status === 401) throw new Refusal("Log in again to see images.");
  const isText = response.headers.get("Content-Type")?.startsWith("text/plain");
  const words = isText ? (await response.text()).trim() : "";
  throw new Refusal(words || `The node answered with status ${response.status}.`);
}

/** Owns the frames that were fetched: the latest used, up to a number of bytes. */
export class Frames {
  constructor(base, mostBytes = MOST_BYTES) {
    this.base = base;
    this.mostBytes = mostBytes;
    this.bytes = 0;
    this.next = null; // what is being fetched ahead
    this.held = new Map(); // key: promise; the order is that of their last use
  }

  /** Give a frame of an object. A failure is not kept, so that asking again tries again. */
  get(image, frame) {
    const key = `${image}/${frame}`;
    const known = this.held.get(key);
    if (known) {
      this.held.delete(key);
      this.held.set(key, known);
      return known.promise;
    }
    const entry = { bytes: 0 };
    entry.promise = this.fetch(key).then(
      (found) => {
        entry.bytes = found.stored.byteLength;
        this.bytes += entry.bytes;
        this.shrink();
        return found;
      },
      (problem) => {
        this.held.delete(key);
        throw problem;
      },
    );
    this.held.set(key, entry);
    return entry.promise;
  }

  /** Fetch frames that will probably be wanted next, until others are; what goes wrong is told when they are. */
  async ahead(places) {
    this.next = places;
    for (const [image, frame] of places) {
      if (this.next !== places) return;
      await this.get(image, frame).catch(() => null);
    }
  }

  async fetch(key) {
    const response = await ask(`${this.base}/frames/${key}`);
    return unpack(await response.arrayBuffer());
  }

  shrink() {
    for (const [key, entry] of this.held) {
      if (this.bytes <= this.mostBytes || this.held.size <= 2) return;
      this.held.delete(key);
      this.bytes -= entry.bytes;
    }
  }
}

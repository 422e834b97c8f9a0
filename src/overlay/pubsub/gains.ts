import type { Peer } from '../core/peer.ts';
import { limits } from './limits.ts';

interface Gain {
  mean: number;
  count: number;
}

/**
 * What a link that only announces would have saved: for each link by which messages came instead, how many hops fewer its announcements say, on
 * average over the last messages. One tree carries the messages of all publishers, and the shorter way for one is the longer way for another; the
 * mean over whatever is published is what a change has to better, not the single message of Plumtree's optimisation (section 3.8 of its paper).
 */
export class Gains {
  readonly #gains = new Map<Peer, Gain>();

  /** The message came by `parent`, this link announced it with `saved` hops fewer (negative: more). True when the two should change places. */
  note(parent: Peer, saved: number): boolean {
    let gain = this.#gains.get(parent);
    if (gain === undefined) {
      if (this.#gains.size >= limits.links_max) this.#gains.clear();
      this.#gains.set(parent, (gain = { mean: 0, count: 0 }));
    }
    gain.count = Math.min(gain.count + 1, limits.shorter_messages);
    gain.mean += (saved - gain.mean) / gain.count;
    return gain.count >= limits.shorter_messages_min && gain.mean >= limits.shorter_hops;
  }

  clear(): void {
    this.#gains.clear();
  }
}

import { nobody, type Peer, type Random } from '../core/index.ts';
import { limits } from './limits.ts';

/** The last few peers of each row that left or were declared dead: a ring, newest first. */
export class Buried {
  readonly #peers: Uint32Array;

  constructor(capacity: number) {
    this.#peers = new Uint32Array(capacity * limits.buried).fill(nobody);
  }

  clear(self: number): void {
    this.#peers.fill(nobody, self * limits.buried, (self + 1) * limits.buried);
  }

  has(self: number, peer: Peer): boolean {
    const base = self * limits.buried;
    for (let at = base; at < base + limits.buried; at++) if (this.#peers[at] === peer) return true;
    return false;
  }

  bury(self: number, peer: Peer): void {
    if (this.has(self, peer)) return;
    const base = self * limits.buried;
    this.#peers.copyWithin(base + 1, base, base + limits.buried - 1);
    this.#peers[base] = peer;
  }

  /** It spoke: it lives. */
  raise(self: number, peer: Peer): void {
    const base = self * limits.buried;
    for (let at = base; at < base + limits.buried; at++) {
      if (this.#peers[at] !== peer) continue;
      this.#peers.copyWithin(at, at + 1, base + limits.buried);
      this.#peers[base + limits.buried - 1] = nobody;
      return;
    }
  }

  /** A random one, or nobody. */
  random(self: number, random: Random): Peer {
    return this.#peers[self * limits.buried + random.below(limits.buried)]!;
  }

  *all(self: number): IterableIterator<Peer> {
    for (const peer of this.#peers.subarray(self * limits.buried, (self + 1) * limits.buried)) if (peer !== nobody) yield peer;
  }
}

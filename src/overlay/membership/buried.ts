import { nobody, type Peer, type Random, type Rows } from '../core/index.ts';
import { limits } from './limits.ts';

/** The last few peers of each row that left or were declared dead: a ring, newest first. */
export class Buried {
  readonly #rows: Rows;
  readonly #at: number;

  constructor(rows: Rows) {
    this.#rows = rows;
    this.#at = rows.reserve(limits.buried);
  }

  clear(self: number): void {
    const base = self * this.#rows.stride + this.#at;
    this.#rows.words.fill(nobody, base, base + limits.buried);
  }

  #find(self: number, peer: Peer): number {
    const { words, stride } = this.#rows;
    const base = self * stride + this.#at;
    for (let at = base; at < base + limits.buried && words[at] !== nobody; at++) if (words[at] === peer) return at;
    return -1;
  }

  has(self: number, peer: Peer): boolean {
    return this.#find(self, peer) >= 0;
  }

  bury(self: number, peer: Peer): void {
    if (this.has(self, peer)) return;
    const base = self * this.#rows.stride + this.#at;
    this.#rows.words.copyWithin(base + 1, base, base + limits.buried - 1);
    this.#rows.words[base] = peer;
  }

  /** It spoke: it lives. */
  raise(self: number, peer: Peer): void {
    const at = this.#find(self, peer);
    if (at < 0) return;
    const end = self * this.#rows.stride + this.#at + limits.buried;
    this.#rows.words.copyWithin(at, at + 1, end);
    this.#rows.words[end - 1] = nobody;
  }

  /** A random one, or nobody. */
  random(self: number, random: Random): Peer {
    return this.#rows.words[self * this.#rows.stride + this.#at + random.below(limits.buried)]!;
  }

  *all(self: number): IterableIterator<Peer> {
    const base = self * this.#rows.stride + this.#at;
    for (const peer of this.#rows.words.subarray(base, base + limits.buried)) if (peer !== nobody) yield peer;
  }
}

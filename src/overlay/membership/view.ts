import { nobody, type Peer, type Random, type Rows } from '../core/index.ts';
import { limits } from './limits.ts';

/** The partial views of all rows: `limits.view` slots each, filled from the left, with the cycles since a peer was last known to live. */
export class Views {
  readonly #rows: Rows;
  readonly #count: number;
  readonly #ages: number;
  readonly #peers: number;

  constructor(rows: Rows) {
    this.#rows = rows;
    this.#count = rows.reserveBytes(1);
    this.#ages = rows.reserveBytes(limits.view);
    this.#peers = rows.reserve(limits.view);
  }

  clear(self: number): void {
    this.#setCount(self, 0);
  }

  #setCount(self: number, count: number): void {
    this.#rows.bytes[self * this.#rows.stride * 4 + this.#count] = count;
  }

  count(self: number): number {
    return this.#rows.bytes[self * this.#rows.stride * 4 + this.#count]!;
  }

  peer(self: number, slot: number): Peer {
    return this.#rows.words[self * this.#rows.stride + this.#peers + slot]!;
  }

  age(self: number, slot: number): number {
    return this.#rows.bytes[self * this.#rows.stride * 4 + this.#ages + slot]!;
  }

  /** The slot of a peer, or -1. */
  find(self: number, peer: Peer): number {
    const { words, stride } = this.#rows;
    const base = self * stride + this.#peers;
    const count = this.count(self);
    for (let slot = 0; slot < count; slot++) if (words[base + slot] === peer) return slot;
    return -1;
  }

  /** Heard of at `age`: true when the peer is in the view already. */
  refresh(self: number, peer: Peer, age: number): boolean {
    const slot = this.find(self, peer);
    if (slot < 0) return false;
    const { bytes, stride } = this.#rows;
    const at = self * stride * 4 + this.#ages + slot;
    if (age < bytes[at]!) bytes[at] = age;
    return true;
  }

  /** Puts a peer that is not there into a free slot; false when there is none. */
  append(self: number, peer: Peer, age: number): boolean {
    const count = this.count(self);
    if (count >= limits.view) return false;
    this.set(self, count, peer, age);
    this.#setCount(self, count + 1);
    return true;
  }

  set(self: number, slot: number, peer: Peer, age: number): void {
    this.#rows.words[self * this.#rows.stride + this.#peers + slot] = peer;
    this.#rows.bytes[self * this.#rows.stride * 4 + this.#ages + slot] = age;
  }

  swap(self: number, one: number, other: number): void {
    const peer = this.peer(self, one);
    const age = this.age(self, one);
    this.set(self, one, this.peer(self, other), this.age(self, other));
    this.set(self, other, peer, age);
  }

  remove(self: number, peer: Peer): boolean {
    const slot = this.find(self, peer);
    if (slot < 0) return false;
    const last = this.count(self) - 1;
    this.#setCount(self, last);
    this.set(self, slot, this.peer(self, last), this.age(self, last));
    return true;
  }

  /** One cycle went by. */
  grow(self: number): void {
    const { bytes, stride } = this.#rows;
    const base = self * stride * 4 + this.#ages;
    const end = base + this.count(self);
    for (let at = base; at < end; at++) if (bytes[at]! < 255) bytes[at]!++;
  }

  /** The slot that was not heard of for longest, or -1. */
  oldest(self: number): number {
    let best = -1;
    let age = -1;
    const count = this.count(self);
    for (let slot = 0; slot < count; slot++) {
      if (this.age(self, slot) <= age) continue;
      age = this.age(self, slot);
      best = slot;
    }
    return best;
  }

  /** A random peer, or nobody. */
  random(self: number, random: Random): Peer {
    const count = this.count(self);
    return count === 0 ? nobody : this.peer(self, random.below(count));
  }
}

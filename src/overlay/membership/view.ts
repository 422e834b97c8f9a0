import { nobody, type Peer, type Random } from '../core/index.ts';
import { limits } from './limits.ts';

/** The partial views of all rows: `limits.view` slots each, filled from the left, with the cycles since a peer was last known to live. */
export class Views {
  readonly #peers: Uint32Array;
  readonly #ages: Uint8Array;
  readonly #counts: Uint8Array;

  constructor(capacity: number) {
    this.#peers = new Uint32Array(capacity * limits.view).fill(nobody);
    this.#ages = new Uint8Array(capacity * limits.view);
    this.#counts = new Uint8Array(capacity);
  }

  clear(self: number): void {
    this.#counts[self] = 0;
  }

  count(self: number): number {
    return this.#counts[self]!;
  }

  peer(self: number, slot: number): Peer {
    return this.#peers[self * limits.view + slot]!;
  }

  age(self: number, slot: number): number {
    return this.#ages[self * limits.view + slot]!;
  }

  /** The slot of a peer, or -1. */
  find(self: number, peer: Peer): number {
    const base = self * limits.view;
    for (let slot = 0; slot < this.#counts[self]!; slot++) if (this.#peers[base + slot] === peer) return slot;
    return -1;
  }

  /** Heard of at `age`: true when the peer is in the view already. */
  refresh(self: number, peer: Peer, age: number): boolean {
    const slot = this.find(self, peer);
    if (slot < 0) return false;
    const at = self * limits.view + slot;
    if (age < this.#ages[at]!) this.#ages[at] = age;
    return true;
  }

  /** Puts a peer that is not there into a free slot; false when there is none. */
  append(self: number, peer: Peer, age: number): boolean {
    const count = this.#counts[self]!;
    if (count >= limits.view) return false;
    this.set(self, count, peer, age);
    this.#counts[self] = count + 1;
    return true;
  }

  set(self: number, slot: number, peer: Peer, age: number): void {
    this.#peers[self * limits.view + slot] = peer;
    this.#ages[self * limits.view + slot] = age;
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
    const last = --this.#counts[self]!;
    this.set(self, slot, this.peer(self, last), this.age(self, last));
    return true;
  }

  /** One cycle went by. */
  grow(self: number): void {
    const base = self * limits.view;
    for (let at = base; at < base + this.#counts[self]!; at++) if (this.#ages[at]! < 255) this.#ages[at]!++;
  }

  /** The slot that was not heard of for longest, or -1. */
  oldest(self: number): number {
    let best = -1;
    let age = -1;
    for (let slot = 0; slot < this.#counts[self]!; slot++) {
      if (this.age(self, slot) <= age) continue;
      age = this.age(self, slot);
      best = slot;
    }
    return best;
  }

  /** A random peer, or nobody. */
  random(self: number, random: Random): Peer {
    const count = this.#counts[self]!;
    return count === 0 ? nobody : this.peer(self, random.below(count));
  }
}

import { nobody, type Peer } from '../core/index.ts';
import { limits } from './limits.ts';
import type { Space } from './space.ts';

const width = limits.bucket;
const stride = limits.buckets * limits.bucket;
const silent_bit = 128;

const ones = (word: number): number => {
  let x = word - ((word >>> 1) & 0x5555_5555);
  x = (x & 0x3333_3333) + ((x >>> 2) & 0x3333_3333);
  return Math.imul((x + (x >>> 4)) & 0x0f0f_0f0f, 0x0101_0101) >>> 24;
};

/**
 * The links of all rows by one key. Bucket `level` holds up to three peers whose keys have exactly `level` leading bits in common with
 * ours. Only buckets that hold somebody take room: two words say which levels are there, and buckets stand in the order of levels.
 * An age is in cycles since the peer was known to live; its top bit says that it did not answer once.
 */
export class LinkTable {
  readonly space: Space;
  readonly #levels_high: Uint32Array;
  readonly #levels_low: Uint32Array;
  readonly #peers: Uint32Array;
  readonly #ages: Uint8Array;

  constructor(space: Space, capacity: number) {
    this.space = space;
    this.#levels_high = new Uint32Array(capacity);
    this.#levels_low = new Uint32Array(capacity);
    this.#peers = new Uint32Array(capacity * stride).fill(nobody);
    this.#ages = new Uint8Array(capacity * stride);
  }

  clear(self: number): void {
    this.#levels_high[self] = 0;
    this.#levels_low[self] = 0;
    this.#peers.fill(nobody, self * stride, (self + 1) * stride);
  }

  /** Buckets that hold somebody. */
  buckets(self: number): number {
    return ones(this.#levels_high[self]!) + ones(this.#levels_low[self]!);
  }

  has(self: number, level: number): boolean {
    return (level < 32 ? (this.#levels_high[self]! >>> (31 - level)) & 1 : (this.#levels_low[self]! >>> (63 - level)) & 1) === 1;
  }

  /** How many buckets stand before that of `level`: its own place when it is there. */
  rank(self: number, level: number): number {
    if (level < 32) return level === 0 ? 0 : ones(this.#levels_high[self]! >>> (32 - level));
    return ones(this.#levels_high[self]!) + (level === 32 ? 0 : ones(this.#levels_low[self]! >>> (64 - level)));
  }

  /** The level of the bucket at a place. */
  level(self: number, place: number): number {
    const first = this.#levels_high[self]!;
    const among_high = ones(first);
    let word = place < among_high ? first : this.#levels_low[self]!;
    for (let skip = place < among_high ? place : place - among_high; skip > 0; skip--) word &= ~(0x8000_0000 >>> Math.clz32(word));
    return Math.clz32(word) + (place < among_high ? 0 : 32);
  }

  /** The peer in a slot of a bucket by its place; nobody from the first free slot on. */
  at(self: number, place: number, slot: number): Peer {
    return this.#peers[self * stride + place * width + slot]!;
  }

  age(self: number, place: number, slot: number): number {
    return this.#ages[self * stride + place * width + slot]! & ~silent_bit;
  }

  /** Where a peer is: an index into the row's slots, or -1. */
  #find(self: number, peer: Peer): number {
    const level = this.space.common(self, peer);
    if (level > 63 || !this.has(self, level)) return -1;
    const first = self * stride + this.rank(self, level) * width;
    for (let at = first; at < first + width; at++) if (this.#peers[at] === peer) return at;
    return -1;
  }

  contains(self: number, peer: Peer): boolean {
    return this.#find(self, peer) >= 0;
  }

  /** A peer that lived `age` cycles ago. Takes it in where there is room, or where it is fresher than another; true when it is in. */
  offer(self: number, peer: Peer, age: number): boolean {
    const level = this.space.common(self, peer);
    if (level > 63) return false;
    const place = this.rank(self, level);
    if (!this.has(self, level) && !this.#insert(self, level, place)) return false;
    const first = self * stride + place * width;
    let oldest = first;
    for (let at = first; at < first + width; at++) {
      const there = this.#peers[at]!;
      if (there === peer) {
        if (age < this.#ages[at]!) this.#ages[at] = age;
        return true;
      }
      if (there === nobody) return this.#set(at, peer, age);
      if (this.#ages[at]! > this.#ages[oldest]!) oldest = at;
    }
    return age + limits.fresher_cycles <= this.#ages[oldest]! && this.#set(oldest, peer, age);
  }

  #set(at: number, peer: Peer, age: number): true {
    this.#peers[at] = peer;
    this.#ages[at] = age;
    return true;
  }

  /** Makes room for a new bucket; false when all are taken. */
  #insert(self: number, level: number, place: number): boolean {
    const count = this.buckets(self);
    if (count >= limits.buckets) return false;
    const base = self * stride;
    const from = base + place * width;
    const end = base + count * width;
    this.#peers.copyWithin(from + width, from, end);
    this.#ages.copyWithin(from + width, from, end);
    this.#peers.fill(nobody, from, from + width);
    if (level < 32) this.#levels_high[self]! |= 1 << (31 - level);
    else this.#levels_low[self]! |= 1 << (63 - level);
    return true;
  }

  remove(self: number, peer: Peer): boolean {
    const at = this.#find(self, peer);
    if (at < 0) return false;
    const base = self * stride;
    const place = Math.floor((at - base) / width);
    const first = base + place * width;
    let last = first + width - 1;
    while (this.#peers[last] === nobody) last--;
    this.#peers[at] = this.#peers[last]!;
    this.#ages[at] = this.#ages[last]!;
    this.#peers[last] = nobody;
    if (last === first) this.#close(self, place);
    return true;
  }

  #close(self: number, place: number): void {
    const level = this.level(self, place);
    const base = self * stride;
    const end = base + this.buckets(self) * width;
    const from = base + place * width;
    this.#peers.copyWithin(from, from + width, end);
    this.#ages.copyWithin(from, from + width, end);
    this.#peers.fill(nobody, end - width, end);
    if (level < 32) this.#levels_high[self]! &= ~(1 << (31 - level));
    else this.#levels_low[self]! &= ~(1 << (63 - level));
  }

  /** It spoke to us. */
  heard(self: number, peer: Peer): void {
    const at = this.#find(self, peer);
    if (at >= 0) this.#ages[at] = 0;
    else this.offer(self, peer, 0);
  }

  /** It did not answer: the first time a mark, the second time it is out. True when it is out. */
  silent(self: number, peer: Peer): boolean {
    const at = this.#find(self, peer);
    if (at < 0) return true;
    if (this.#ages[at]! >= silent_bit) return this.remove(self, peer);
    this.#ages[at]! |= silent_bit;
    return false;
  }

  /** One cycle went by. */
  grow(self: number): void {
    const end = self * stride + this.buckets(self) * width;
    for (let at = self * stride; at < end; at++) if ((this.#ages[at]! & ~silent_bit) < 127) this.#ages[at]!++;
  }

  /** The link that was not heard of for longest, or nobody. */
  oldest(self: number): Peer {
    const end = self * stride + this.buckets(self) * width;
    let best = nobody;
    let age = -1;
    for (let at = self * stride; at < end; at++) {
      if (this.#peers[at] === nobody || this.#ages[at]! <= age) continue;
      age = this.#ages[at]!;
      best = this.#peers[at]!;
    }
    return best;
  }

  /** Calls `take` for every link, nearest first. */
  each(self: number, take: (peer: Peer, age: number, level: number) => void): void {
    for (let place = this.buckets(self) - 1; place >= 0; place--) {
      const level = this.level(self, place);
      for (let slot = 0; slot < width && this.at(self, place, slot) !== nobody; slot++) take(this.at(self, place, slot), this.age(self, place, slot), level);
    }
  }

  /** Keys have changed: puts everybody where it belongs now. */
  rebuild(self: number): void {
    const all: [Peer, number][] = [];
    this.each(self, (peer, age) => all.push([peer, age]));
    this.clear(self);
    for (const [peer, age] of all) this.offer(self, peer, age);
  }
}

import { nobody, type Peer, type Rows } from '../core/index.ts';
import { limits } from './limits.ts';
import type { Space } from './space.ts';

const width = limits.bucket;
const slots = limits.buckets * limits.bucket;
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
  readonly #rows: Rows;
  /** Offsets in the row: two words of levels, the peers, and (in bytes) the ages. */
  readonly #levels: number;
  readonly #peers: number;
  readonly #ages: number;

  constructor(space: Space, rows: Rows) {
    this.space = space;
    this.#rows = rows;
    this.#levels = rows.reserve(2);
    this.#ages = rows.reserveBytes(slots);
    this.#peers = rows.reserve(slots);
  }

  clear(self: number): void {
    const { words, stride } = this.#rows;
    words.fill(0, self * stride + this.#levels, self * stride + this.#levels + 2);
    words.fill(nobody, self * stride + this.#peers, self * stride + this.#peers + slots);
  }

  #high(self: number): number {
    return this.#rows.words[self * this.#rows.stride + this.#levels]!;
  }

  #low(self: number): number {
    return this.#rows.words[self * this.#rows.stride + this.#levels + 1]!;
  }

  /** The indexes of the first slot of a row: of peers in `words`, of ages in `bytes`. */
  #peerBase(self: number): number {
    return self * this.#rows.stride + this.#peers;
  }

  #ageBase(self: number): number {
    return self * this.#rows.stride * 4 + this.#ages;
  }

  /** Buckets that hold somebody. */
  buckets(self: number): number {
    return ones(this.#high(self)) + ones(this.#low(self));
  }

  has(self: number, level: number): boolean {
    return (level < 32 ? (this.#high(self) >>> (31 - level)) & 1 : (this.#low(self) >>> (63 - level)) & 1) === 1;
  }

  /** How many buckets stand before that of `level`: its own place when it is there. */
  rank(self: number, level: number): number {
    if (level < 32) return level === 0 ? 0 : ones(this.#high(self) >>> (32 - level));
    return ones(this.#high(self)) + (level === 32 ? 0 : ones(this.#low(self) >>> (64 - level)));
  }

  /** The level of the bucket at a place. */
  level(self: number, place: number): number {
    const first = this.#high(self);
    const among_high = ones(first);
    let word = place < among_high ? first : this.#low(self);
    for (let skip = place < among_high ? place : place - among_high; skip > 0; skip--) word &= ~(0x8000_0000 >>> Math.clz32(word));
    return Math.clz32(word) + (place < among_high ? 0 : 32);
  }

  /** The peer in a slot of a bucket by its place; nobody from the first free slot on. */
  at(self: number, place: number, slot: number): Peer {
    return this.#rows.words[this.#peerBase(self) + place * width + slot]!;
  }

  age(self: number, place: number, slot: number): number {
    return this.#rows.bytes[this.#ageBase(self) + place * width + slot]! & ~silent_bit;
  }

  /** Where a peer is: an index into the row's slots, or -1. */
  #find(self: number, peer: Peer): number {
    const level = this.space.common(self, peer);
    if (level > 63 || !this.has(self, level)) return -1;
    const { words } = this.#rows;
    const base = this.#peerBase(self);
    const first = this.rank(self, level) * width;
    for (let slot = first; slot < first + width; slot++) if (words[base + slot] === peer) return slot;
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
    const { words, bytes } = this.#rows;
    const peers = this.#peerBase(self) + place * width;
    const ages = this.#ageBase(self) + place * width;
    let oldest = 0;
    for (let slot = 0; slot < width; slot++) {
      const there = words[peers + slot]!;
      if (there === peer) {
        if (age < bytes[ages + slot]!) bytes[ages + slot] = age;
        return true;
      }
      if (there === nobody || bytes[ages + slot]! > bytes[ages + oldest]!) oldest = slot;
      if (there === nobody) break;
    }
    if (words[peers + oldest] !== nobody && age + limits.fresher_cycles > bytes[ages + oldest]!) return false;
    words[peers + oldest] = peer;
    bytes[ages + oldest] = age;
    return true;
  }

  /** Makes room for a new bucket; false when all are taken. */
  #insert(self: number, level: number, place: number): boolean {
    const count = this.buckets(self);
    if (count >= limits.buckets) return false;
    this.#move(self, place, place + 1, count);
    const from = this.#peerBase(self) + place * width;
    this.#rows.words.fill(nobody, from, from + width);
    this.#flip(self, level);
    return true;
  }

  /** Moves the buckets from place `from` to place `end` to begin at place `to`. */
  #move(self: number, from: number, to: number, end: number): void {
    const peers = this.#peerBase(self);
    const ages = this.#ageBase(self);
    this.#rows.words.copyWithin(peers + to * width, peers + from * width, peers + end * width);
    this.#rows.bytes.copyWithin(ages + to * width, ages + from * width, ages + end * width);
  }

  #flip(self: number, level: number): void {
    const at = self * this.#rows.stride + this.#levels;
    if (level < 32) this.#rows.words[at]! ^= 1 << (31 - level);
    else this.#rows.words[at + 1]! ^= 1 << (63 - level);
  }

  remove(self: number, peer: Peer): boolean {
    const slot = this.#find(self, peer);
    if (slot < 0) return false;
    const { words, bytes } = this.#rows;
    const peers = this.#peerBase(self);
    const ages = this.#ageBase(self);
    const place = Math.floor(slot / width);
    let last = place * width + width - 1;
    while (words[peers + last] === nobody) last--;
    words[peers + slot] = words[peers + last]!;
    bytes[ages + slot] = bytes[ages + last]!;
    words[peers + last] = nobody;
    if (last === place * width) this.#close(self, place);
    return true;
  }

  #close(self: number, place: number): void {
    const level = this.level(self, place);
    const count = this.buckets(self);
    this.#move(self, place + 1, place, count);
    const end = this.#peerBase(self) + count * width;
    this.#rows.words.fill(nobody, end - width, end);
    this.#flip(self, level);
  }

  /** It spoke to us. */
  heard(self: number, peer: Peer): void {
    this.offer(self, peer, 0);
  }

  /** It did not answer: the first time a mark, the second time it is out. True when it is out. */
  silent(self: number, peer: Peer): boolean {
    const slot = this.#find(self, peer);
    if (slot < 0) return true;
    const at = this.#ageBase(self) + slot;
    if (this.#rows.bytes[at]! >= silent_bit) return this.remove(self, peer);
    this.#rows.bytes[at]! |= silent_bit;
    return false;
  }

  /** One cycle went by. */
  grow(self: number): void {
    const { bytes } = this.#rows;
    const from = this.#ageBase(self);
    const end = from + this.buckets(self) * width;
    for (let at = from; at < end; at++) if ((bytes[at]! & ~silent_bit) < 127) bytes[at]!++;
  }

  /** The link that was not heard of for longest, or nobody. */
  oldest(self: number): Peer {
    const { words, bytes } = this.#rows;
    const peers = this.#peerBase(self);
    const ages = this.#ageBase(self);
    const end = this.buckets(self) * width;
    let best = nobody;
    let age = -1;
    for (let slot = 0; slot < end; slot++) {
      if (bytes[ages + slot]! <= age || words[peers + slot] === nobody) continue;
      age = bytes[ages + slot]!;
      best = words[peers + slot]!;
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

  /** Whether everybody stands where its key says, and ours. */
  fits(self: number): boolean {
    let all = true;
    this.each(self, (peer, _age, level) => {
      if (this.space.common(self, peer) !== level) all = false;
    });
    return all;
  }

  /** Keys have changed: puts everybody where it belongs now. */
  rebuild(self: number): void {
    const all: [Peer, number][] = [];
    this.each(self, (peer, age) => all.push([peer, age]));
    this.clear(self);
    for (const [peer, age] of all) this.offer(self, peer, age);
  }
}

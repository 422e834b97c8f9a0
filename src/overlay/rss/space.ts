import { mix32, type Book, type Peer } from '../core/index.ts';

/** One key: which attributes it interleaves. The names' order decides which is cut first. */
export interface KeySpec {
  readonly attributes: readonly string[];
}

/** Bits a key in all, and of them at most so many for attributes; the rest is a hash that tells equal nodes apart. */
export const key_bits = 64;
const attribute_bits_max = 40;
const bits_each_max = 8;

/** Where each attribute is cut, by the attribute's place in the key: ascending, 2^bits - 1 of them. Equal ones are allowed. */
export type Cuts = readonly (readonly number[])[];

/**
 * The space of one key: which cell a value falls into, and the keys of all peers in the Book. A key is the Morton order of the cells,
 * most significant bits first, then hash bits; so that a common prefix is a box of attributes, and a bucket of links is a box as well.
 */
export class Space {
  readonly spec: KeySpec;
  readonly dimensions: number;
  /** Bits of each attribute, and of all together. */
  readonly bits: number;
  readonly attribute_bits: number;
  readonly columns: readonly number[];
  readonly high: Uint32Array;
  readonly low: Uint32Array;
  /** Grows with every new set of cuts. */
  version = 0;
  #cuts: Float64Array[];
  readonly #book: Book;
  readonly #hash: (peer: Peer) => number;

  /** `hash` gives 32 bits that are the peer's own on every node (from its id); in the simulator its number serves. */
  constructor(book: Book, spec: KeySpec, hash: (peer: Peer) => number = mix32) {
    this.spec = spec;
    this.dimensions = spec.attributes.length;
    this.bits = Math.min(bits_each_max, Math.floor(attribute_bits_max / this.dimensions));
    this.attribute_bits = this.bits * this.dimensions;
    this.columns = spec.attributes.map((name) => book.column(name));
    this.high = new Uint32Array(book.capacity);
    this.low = new Uint32Array(book.capacity);
    this.#cuts = spec.attributes.map(() => defaultCuts(this.bits));
    this.#book = book;
    this.#hash = hash;
    book.listen((peer) => this.place(peer));
  }

  get cuts(): Cuts {
    return this.#cuts.map((list) => [...list]);
  }

  /** Takes other cuts and places everybody anew. Those who hold tables by these keys must be told (LinkTable.rebuild). */
  setCuts(version: number, cuts: Cuts): void {
    if (cuts.length !== this.dimensions || cuts.some((list) => list.length !== (1 << this.bits) - 1)) throw new RangeError('the cuts do not fit the key');
    this.version = version;
    this.#cuts = cuts.map((list) => Float64Array.from(list));
    for (let peer = 0; peer < this.#book.capacity; peer++) this.place(peer);
  }

  /** The cell of a value along one attribute; absent values are in cell 0. */
  cell(dimension: number, value: number): number {
    if (Number.isNaN(value)) return 0;
    const cuts = this.#cuts[dimension]!;
    let from = 0;
    let to = cuts.length;
    while (from < to) {
      const middle = (from + to) >> 1;
      if (cuts[middle]! <= value) from = middle + 1;
      else to = middle;
    }
    return from;
  }

  /** Computes the key of a row of the Book. */
  place(peer: Peer): void {
    const { dimensions, bits } = this;
    let high = 0;
    let low = 0;
    for (let dimension = 0; dimension < dimensions; dimension++) {
      const cell = this.cell(dimension, this.#book.value(peer, this.columns[dimension]!));
      for (let depth = 0; depth < bits; depth++) {
        if ((cell & (1 << (bits - 1 - depth))) === 0) continue;
        const bit = depth * dimensions + dimension;
        if (bit < 32) high |= 1 << (31 - bit);
        else low |= 1 << (63 - bit);
      }
    }
    const hash = this.#hash(peer);
    const used = this.attribute_bits;
    if (used < 32) {
      high |= hash >>> used;
      low |= used === 0 ? mix32(hash ^ 0x5bd1e995) : (hash << (32 - used)) | (mix32(hash ^ 0x5bd1e995) >>> used);
    } else low |= used === 64 ? 0 : hash >>> (used - 32);
    this.high[peer] = high;
    this.low[peer] = low;
  }

  /** How many leading bits two peers' keys have in common, 0 to 64. */
  common(one: Peer, other: Peer): number {
    const high = this.high[one]! ^ this.high[other]!;
    return high !== 0 ? Math.clz32(high) : 32 + Math.clz32(this.low[one]! ^ this.low[other]!);
  }

  /** The cell that a key has along one attribute. */
  cellOf(high: number, low: number, dimension: number): number {
    let cell = 0;
    for (let depth = 0; depth < this.bits; depth++) {
      const bit = depth * this.dimensions + dimension;
      const set = bit < 32 ? (high >>> (31 - bit)) & 1 : (low >>> (63 - bit)) & 1;
      cell = (cell << 1) | set;
    }
    return cell;
  }
}

/** Before anything was learned: numbers on a logarithmic scale from 1 to 2^48, which suits counts as well as bytes. */
function defaultCuts(bits: number): Float64Array {
  const cells = 1 << bits;
  return Float64Array.from({ length: cells - 1 }, (_, i) => 2 ** (((i + 1) * 48) / cells));
}

/** Cuts that give each cell as many of the samples: quantiles. `samples` is sorted in place; absent values are NaN and left out. */
export function quantileCuts(samples: Float64Array, bits: number): number[] {
  const values = samples.filter((value) => !Number.isNaN(value)).sort();
  const cells = 1 << bits;
  if (values.length === 0) return [...defaultCuts(bits)];
  return Array.from({ length: cells - 1 }, (_, i) => values[Math.min(values.length - 1, Math.floor(((i + 1) * values.length) / cells))]!);
}

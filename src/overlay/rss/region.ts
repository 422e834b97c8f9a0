import { limits } from './limits.ts';
import { numeric, type Constraint, type Query } from './query.ts';
import type { Space } from './space.ts';

/**
 * The part of a key's space where matches can be: for each attribute, which cells, and by that which prefixes of cells (a binary tree:
 * index 1 is everything, the children of i are 2i and 2i + 1), as the share that can match.
 */
export class Region {
  readonly space: Space;
  readonly #allowed: readonly Float32Array[];
  /** The share of the cells, about the share of the nodes since cells are quantiles. */
  readonly share: number;

  constructor(space: Space, query: Query) {
    this.space = space;
    this.#allowed = space.spec.attributes.map((name, dimension) => tree(space, dimension, query.constraints.filter((constraint) => 'attribute' in constraint && constraint.attribute === name)));
    this.share = this.#allowed.reduce((share, allowed) => share * allowed[1]!, 1);
  }

  /** The share that can match of the box of all keys that begin with the first `depth` bits of a key. */
  shareOf(high: number, low: number, depth: number): number {
    const { dimensions, bits } = this.space;
    let share = 1;
    for (let dimension = 0; dimension < dimensions && share > 0; dimension++) {
      const known = Math.min(bits, Math.max(0, Math.ceil((depth - dimension) / dimensions)));
      const prefix = this.space.cellOf(high, low, dimension) >>> (bits - known);
      share *= this.#allowed[dimension]![(1 << known) | prefix]!;
    }
    return share;
  }

  /** The same for the sibling box at `level`: the first `level` bits of the key, the next one flipped. */
  shareOfSibling(high: number, low: number, level: number): number {
    if (level < 32) return this.shareOf((high ^ (1 << (31 - level))) >>> 0, low, level + 1);
    return this.shareOf(high, (low ^ (1 << (63 - level))) >>> 0, level + 1);
  }

  /**
   * How many of the links of a node with this key can be expected to match and to be new, in buckets, if it has `levels` of them, and if
   * we have asked a node whose key has `shared` leading bits in common: small boxes that both look into hold the same nodes.
   */
  promise(high: number, low: number, levels: number, shared: number): number {
    let sum = 0;
    for (let level = 0; level < levels; level++) {
      const fresh = level > shared ? 1 : Math.max(0, 1 - limits.bucket / 2 ** (levels - 1 - level));
      sum += fresh * this.shareOfSibling(high, low, level);
    }
    return sum;
  }
}

function tree(space: Space, dimension: number, constraints: readonly Constraint[]): Float32Array {
  const cells = 1 << space.bits;
  const allowed = new Float32Array(2 * cells).fill(1);
  for (const constraint of constraints) {
    if (constraint.kind === 'range') {
      const first = space.cell(dimension, constraint.low);
      const last = space.cell(dimension, constraint.high);
      for (let cell = 0; cell < cells; cell++) if (cell < first || cell > last) allowed[cells + cell] = 0;
    } else if (constraint.kind === 'in') {
      const wanted = new Set(constraint.values.map((value) => space.cell(dimension, numeric(value))));
      for (let cell = 0; cell < cells; cell++) if (!wanted.has(cell)) allowed[cells + cell] = 0;
    }
  }
  for (let index = cells - 1; index > 0; index--) allowed[index] = (allowed[2 * index]! + allowed[2 * index + 1]!) / 2;
  return allowed;
}

import { nobody, type Peer } from '../../overlay/core/index.ts';
import type { LinkTable } from '../../overlay/rss/link-table.ts';
import { limits } from '../../overlay/rss/limits.ts';
import type { Engine } from '../engine.ts';

export interface Slots {
  /** Links that could be there: for each bucket as many as there are living nodes for it, at most limits.bucket. */
  readonly possible: number;
  /** Links to living nodes. */
  readonly live: number;
  /** Links to dead nodes. */
  readonly dead: number;
}

/** All living nodes in the order of their keys: what a node with full knowledge would know. */
export class Order {
  readonly nodes: Uint32Array;
  readonly #keys: Float64Array;

  constructor(engine: Engine, table: LinkTable) {
    const { space } = table;
    // 53 bits are exact in a double; the last eleven of the hash part make no difference to any bucket that has more than one node.
    const key = (node: number): number => space.high[node]! * 2 ** 21 + (space.low[node]! >>> 11);
    const living = Float64Array.from({ length: engine.count });
    let count = 0;
    for (let node = 0; node < engine.capacity; node++) if (engine.alive[node] === 1) living[count++] = node;
    this.nodes = Uint32Array.from(living).sort((a, b) => key(a) - key(b));
    this.#keys = Float64Array.from(this.nodes, key);
  }

  #first(key: number): number {
    let from = 0;
    let to = this.#keys.length;
    while (from < to) {
      const middle = (from + to) >> 1;
      if (this.#keys[middle]! < key) from = middle + 1;
      else to = middle;
    }
    return from;
  }

  /** Living nodes in the bucket `level` (0 to 52) of a key. */
  population(table: LinkTable, node: Peer, level: number): number {
    const size = 2 ** (52 - level);
    const key = table.space.high[node]! * 2 ** 21 + (table.space.low[node]! >>> 11);
    const sibling = Math.floor(key / size) % 2 === 0 ? Math.floor(key / size) + 1 : Math.floor(key / size) - 1;
    return this.#first((sibling + 1) * size) - this.#first(sibling * size);
  }
}

/** Compares the tables of up to `sample` living nodes with full knowledge. */
export function measureSlots(engine: Engine, table: LinkTable, sample: number): Slots {
  const order = new Order(engine, table);
  const step = Math.max(1, Math.floor(order.nodes.length / sample));
  let possible = 0;
  let live = 0;
  let dead = 0;
  for (let i = 0; i < order.nodes.length; i += step) {
    const node = order.nodes[i]!;
    for (let level = 0; level < 53; level++) possible += Math.min(limits.bucket, order.population(table, node, level));
    table.each(node, (peer) => {
      if (peer !== nobody && engine.alive[peer] === 1) live++;
      else dead++;
    });
  }
  return { possible, live, dead };
}

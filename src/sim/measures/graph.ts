import type { World } from '../world.ts';

/** The share of the living nodes that belong to the largest part that is connected by views and links. */
export function connected(world: World): number {
  const { engine, membership, overlay } = world;
  const parent = Uint32Array.from({ length: engine.capacity }, (_, node) => node);
  const root = (node: number): number => {
    let at = node;
    while (parent[at] !== at) {
      parent[at] = parent[parent[at]!]!;
      at = parent[at]!;
    }
    return at;
  };
  const join = (one: number, other: number): void => {
    if (engine.alive[other] === 1) parent[root(one)] = root(other);
  };
  for (let node = 0; node < engine.capacity; node++) {
    if (engine.alive[node] === 0) continue;
    for (const { peer } of membership.view(node)) join(node, peer);
    for (const table of overlay.tables) table.each(node, (peer) => join(node, peer));
  }
  const sizes = new Map<number, number>();
  for (let node = 0; node < engine.capacity; node++) if (engine.alive[node] === 1) sizes.set(root(node), (sizes.get(root(node)) ?? 0) + 1);
  return engine.count === 0 ? 1 : Math.max(...sizes.values()) / engine.count;
}

/** In how many views nodes are: mean and standard deviation. */
export function inDegrees(world: World): { readonly mean: number; readonly deviation: number } {
  const { engine, membership } = world;
  const degrees = new Float64Array(engine.capacity);
  for (let node = 0; node < engine.capacity; node++) if (engine.alive[node] === 1) for (const { peer } of membership.view(node)) degrees[peer]!++;
  let sum = 0;
  let squares = 0;
  for (let node = 0; node < engine.capacity; node++) {
    if (engine.alive[node] === 0) continue;
    sum += degrees[node]!;
    squares += degrees[node]! ** 2;
  }
  const mean = sum / engine.count;
  return { mean, deviation: Math.sqrt(Math.max(0, squares / engine.count - mean ** 2)) };
}

import { distance_ms } from '../../overlay/rss/index.ts';
import type { World } from '../world.ts';

/** The median relative error of the round trips that coordinates foretell, over pairs of living nodes. */
export function coordinateError(world: World, pairs: number): number {
  const { engine } = world;
  const { coordinates } = engine.book;
  const errors = Float64Array.from({ length: pairs }, (_, i) => {
    // Pairs are picked by a fixed pattern: looking must not change what chance brings next.
    const one = (i * 7_919) % engine.capacity;
    const other = (i * 104_729 + 1) % engine.capacity;
    const real_ms = engine.links.latency_ms(engine.site[one]!, engine.site[other]!) + engine.links.latency_ms(engine.site[other]!, engine.site[one]!);
    const from = { x: coordinates[one * 4]!, y: coordinates[one * 4 + 1]!, height: coordinates[one * 4 + 2]! };
    return Math.abs(distance_ms(engine.book, other, from) - real_ms) / real_ms;
  }).sort();
  return errors[Math.floor(pairs / 2)]!;
}

import type { World, WorldOptions } from './world.ts';

/** What happens to a world. Cycles count from 1; in the first ones all nodes join. */
export interface Scenario {
  readonly name: string;
  readonly summary: string;
  readonly nodes: number;
  readonly cycles: number;
  readonly world?: Partial<WorldOptions>;
  /** Shares of the nodes that die and that join in a cycle, and of the deaths that are announced. */
  readonly churn?: (cycle: number) => { readonly deaths?: number; readonly joins?: number; readonly leaves?: number };
  /** At the beginning of a cycle. */
  readonly before?: (world: World, cycle: number) => void;
  /** Queries that begin in a cycle: for `wanted` nodes, and for all. */
  readonly queries?: (cycle: number) => { readonly some?: number; readonly all?: number };
  readonly wanted?: number;
  readonly selectivity?: number;
  /** How often the links are compared with full knowledge; 0: never, default every second cycle. */
  readonly slots_every?: number;
  /** Whether everybody reaches everybody is looked at each cycle. */
  readonly connected?: boolean;
  /** The error of the coordinates is looked at each cycle. */
  readonly coordinates?: boolean;
}

const from = (first: number, deaths: number, joins = deaths) => (cycle: number): { deaths: number; joins: number } => (cycle >= first ? { deaths, joins } : { deaths: 0, joins: 0 });

const matrix = (sites: number, value: (from: number, to: number) => number): readonly (readonly number[])[] => Array.from({ length: sites }, (_, one) => Array.from({ length: sites }, (__, other) => value(one, other)));

/** Views as they would lie on disk, by node, from the moment before an outage. */
const persisted = new WeakMap<World, Map<number, number[]>>();

function outage(world: World, cycle: number): void {
  const { engine, membership } = world;
  if (cycle === 16) {
    const views = new Map<number, number[]>();
    for (let node = 0; node < engine.capacity; node++) {
      if (engine.alive[node] === 1) views.set(node, [...[...membership.view(node)].map(({ peer }) => peer), ...membership.buried(node)]);
    }
    persisted.set(world, views);
    for (const node of views.keys()) engine.crash(node);
  }
  if (cycle !== 17) return;
  for (const [node, view] of persisted.get(world)!) {
    if (!engine.random.chance(0.7)) continue;
    world.seeds.set(node, view);
    engine.start(node, engine.random.shuffle(view));
  }
}

/** Every scenario, by name; `npm run sim -- --help` lists them. */
export const scenarios: readonly Scenario[] = [
  { name: 'settle', summary: 'all nodes join within a cycle; how soon the links are as they should be', nodes: 10_000, cycles: 20 },
  {
    name: 'scale', summary: 'memory and time of very many nodes; queries for 50 nodes at the end', nodes: 100_000, cycles: 18, slots_every: 0,
    queries: (cycle) => (cycle >= 17 ? { some: 20 } : {}),
  },
  {
    name: 'query', summary: 'queries for 50 nodes and for all, nobody dies', nodes: 10_000, cycles: 22, slots_every: 11,
    queries: (cycle) => (cycle >= 16 ? { some: 20, all: 1 } : {}),
  },
  {
    name: 'churn', summary: '0.2 % of the nodes die and join in each cycle, without a word', nodes: 10_000, cycles: 32, slots_every: 8,
    churn: from(12, 0.002), queries: (cycle) => (cycle >= 22 ? { some: 10, all: 1 } : {}),
  },
  {
    name: 'storm', summary: '1 % of the nodes die and join in each cycle, without a word', nodes: 10_000, cycles: 32, slots_every: 8,
    churn: from(12, 0.01), queries: (cycle) => (cycle >= 22 ? { some: 10, all: 1 } : {}),
  },
  {
    name: 'skew', summary: 'nine nodes of ten in a tenth of each attribute; the cells learn it', nodes: 10_000, cycles: 64, slots_every: 8,
    world: { attributes: 'skewed', learn: true }, queries: (cycle) => (cycle >= 58 ? { some: 20, all: 1 } : {}),
  },
  {
    name: 'half', summary: 'half of the nodes die at once', nodes: 10_000, cycles: 28, slots_every: 4, connected: true,
    before: (world, cycle) => {
      if (cycle === 18) for (let deaths = Math.floor(world.engine.count / 2); deaths > 0; deaths--) world.engine.crash(world.living());
    },
    queries: (cycle) => (cycle >= 16 ? { some: 50 } : {}),
  },
  {
    name: 'leave', summary: 'three nodes of ten leave in order within a cycle', nodes: 10_000, cycles: 22, slots_every: 2, connected: true,
    churn: (cycle) => (cycle === 16 ? { deaths: 0.3, leaves: 1 } : {}),
  },
  {
    name: 'partition', summary: 'half of the sites do not hear the other half for five cycles', nodes: 5_000, cycles: 40, slots_every: 4, connected: true,
    before: (world, cycle) => {
      const { links } = world.engine;
      if (cycle === 16) links.partition(Array.from({ length: links.sites }, (_, site) => (site < links.sites / 2 ? 0 : 1)));
      if (cycle === 21) links.partition(null);
    },
  },
  { name: 'outage', summary: 'everybody dies; seven of ten come back with the views they had on disk', nodes: 5_000, cycles: 34, connected: true, slots_every: 4, before: outage },
  {
    name: 'lossy', summary: 'of the messages 5 % are lost, 2 % doubled, 5 % out of order', nodes: 5_000, cycles: 26, slots_every: 4,
    world: { links: { loss: 0.05, duplicate: 0.02, reorder: 0.05 } }, queries: (cycle) => (cycle >= 20 ? { some: 20, all: 1 } : {}),
  },
  {
    name: 'slow', summary: 'four sites; the last is 300 ms away, behind lines of 64 KiB/s', nodes: 2_000, cycles: 26, slots_every: 4, connected: true,
    world: { links: { latency_ms: matrix(4, (from, to) => (from === to ? 1 : from === 3 || to === 3 ? 300 : 20)), bandwidth: matrix(4, (from, to) => (from !== to && (from === 3 || to === 3) ? 65_536 : 0)) } },
    queries: (cycle) => (cycle >= 20 ? { some: 20, all: 1 } : {}),
  },
  { name: 'drift', summary: 'clocks run up to 20 % too fast or too slow', nodes: 5_000, cycles: 26, slots_every: 4, world: { drift: 0.2 } },
  {
    name: 'keys', summary: 'two keys, of three and of two attributes', nodes: 5_000, cycles: 34, slots_every: 4,
    world: { keys: [['cores', 'memory', 'disk'], ['clock', 'network']] }, queries: (cycle) => (cycle >= 28 ? { some: 20, all: 1 } : {}),
  },
  { name: 'near', summary: 'network coordinates of sixteen sites', nodes: 2_000, cycles: 120, slots_every: 0, world: { coordinates: true }, coordinates: true },
];

export const findScenario = (name: string): Scenario | undefined => scenarios.find((scenario) => scenario.name === name);

// Queries in small worlds: what is asked while attributes change, of attributes that no key has, and of nodes that do not answer.
import test from 'ava';
import { kinds } from '../../../src/overlay/core/index.ts';
import { matcher, range, rssLimits, type Query, type SearchResult } from '../../../src/overlay/rss/index.ts';
import { World } from '../../../src/sim/world.ts';

function settled(nodes: number): World {
  const world = new World({ nodes, seed: 21 });
  world.cycle({ joins: nodes });
  for (let cycle = 0; cycle < 8; cycle++) world.cycle();
  return world;
}

function all(world: World, self: number, query: Query): SearchResult {
  let result: SearchResult | null = null;
  world.search.all(self, query, (found) => (result = found));
  world.engine.run(25_000);
  return result!;
}

function some(world: World, self: number, query: Query, wanted: number): SearchResult {
  let result: SearchResult | null = null;
  world.search.some(self, query, wanted, (found) => (result = found));
  world.engine.run(25_000);
  return result!;
}

const sorted = (peers: readonly number[]): number[] => [...peers].sort((a, b) => a - b);
const everybody = (world: World, query: Query): number[] => {
  const match = matcher(query, world.engine.book);
  return Array.from({ length: world.options.nodes }, (_, node) => node).filter((node) => world.engine.alive[node] === 1 && match(node));
};

test('an exhaustive query finds all, a query for more than there are finds all too and says so', (t) => {
  const world = settled(300);
  const query: Query = { constraints: [range('cores', 0.2, 0.5), range('disk', 0, 0.4)] };
  const there = everybody(world, query);
  t.true(there.length > 10);
  const found = all(world, 5, query);
  t.deepEqual(sorted(found.peers), there);
  t.true(found.complete);
  const more = some(world, 6, query, 300);
  t.deepEqual(sorted(more.peers), there);
  t.true(more.complete);
  t.is(some(world, 7, query, 4).peers.length, 4);
});

test('no constraints: every node; an unknown attribute or an empty box: none', (t) => {
  const world = settled(120);
  t.is(all(world, 1, { constraints: [] }).peers.length, 120);
  t.deepEqual(all(world, 1, { constraints: [range('colour', 0, 1)] }).peers, []);
  t.deepEqual(some(world, 1, { constraints: [range('cores', 5, 6)] }, 3).peers, []);
});

test('a node whose attributes change is found by the new ones, and not by the old ones', (t) => {
  const world = settled(300);
  const { engine } = world;
  const rare: Query = { constraints: [range('cores', 0.99, 1), range('memory', 0.99, 1), range('disk', 0, 0.01)] };
  t.deepEqual(everybody(world, rare), []);
  for (const [name, value] of [['cores', 0.995], ['memory', 0.995], ['disk', 0.005]] as const) engine.book.values(engine.book.find(name))[77] = value;
  engine.changed(77);
  for (let cycle = 0; cycle < 3; cycle++) world.cycle();
  t.deepEqual(all(world, 3, rare).peers, [77]);
  t.deepEqual(some(world, 4, rare, 1).peers, [77]);
});

test('an attribute that no key knows and that comes up while all runs can be asked for', (t) => {
  const world = settled(200);
  const { book } = world.engine;
  const column = book.column('sensor.temperature');
  for (const node of [11, 12, 130]) book.values(column)[node] = 21.5;
  const warm: Query = { constraints: [range('sensor.temperature', 20, 25)] };
  t.deepEqual(sorted(all(world, 2, warm).peers), [11, 12, 130]);
  t.deepEqual(sorted(some(world, 2, warm, 3).peers), [11, 12, 130]);
});

test('members of sets, values of texts, and what is not', (t) => {
  const world = settled(60);
  const { book } = world.engine;
  book.set(9, { cores: 0.5, arch: 'aarch64', devices: ['camera', 'gps'] });
  book.set(10, { cores: 0.5, arch: 'x86_64', devices: ['camera'] });
  for (const node of [9, 10]) world.engine.changed(node);
  for (let cycle = 0; cycle < 3; cycle++) world.cycle();
  t.deepEqual(all(world, 1, { constraints: [{ kind: 'has', attribute: 'devices', member: 'gps' }] }).peers, [9]);
  t.deepEqual(sorted(all(world, 1, { constraints: [{ kind: 'has', attribute: 'devices', member: 'camera' }] }).peers), [9, 10]);
  t.deepEqual(all(world, 1, { constraints: [{ kind: 'in', attribute: 'arch', values: ['x86_64', 'riscv64'] }] }).peers, [10]);
  t.deepEqual(all(world, 1, { constraints: [{ kind: 'not', attribute: 'arch', values: ['x86_64'] }] }).peers, [9], 'without the attribute is no match');
});

test('a query that is given up says nothing; too many at once are refused', (t) => {
  const world = settled(60);
  const everything: Query = { constraints: [] };
  let ended = 0;
  world.search.cancel(0, world.search.some(0, everything, 50, () => ended++));
  world.search.cancel(0, world.search.all(0, everything, () => ended++));
  world.engine.run(25_000);
  t.is(ended, 0);
  const begun = Array.from({ length: rssLimits.queries_max + 1 }, () => world.search.some(0, everything, 60, () => ended++));
  t.is(begun.at(-1), -1);
  t.true(begun.slice(0, -1).every((id) => id > 0));
  world.engine.run(25_000);
  t.is(ended, rssLimits.queries_max);
});

test('answers and parts that nobody asked for change nothing; an unknown key is counted', (t) => {
  const world = settled(60);
  const { engine } = world;
  engine.send(1, 2, { kind: kinds.rss_answer, id: 1, matches: [3], rest: [] } as never);
  engine.send(1, 2, { kind: kinds.rss_done, walk: 99, matches: [3], missing: 0 } as never);
  engine.send(1, 2, { kind: kinds.rss_part, id: 99, matches: [3] } as never);
  engine.send(1, 2, { kind: kinds.rss_query, id: 1, key: 7, depth: 0, query: { constraints: [] } } as never);
  engine.send(1, 2, { kind: kinds.rss_walk, id: 1, walk: 1, origin: 1, key: 7, depth: 0, within_ms: 100, query: { constraints: [] } } as never);
  engine.run(1_000);
  t.is(engine.metrics.get('rejected.unknown_key'), 2);
  t.is(engine.metrics.get('rss.late_answer'), 1);
});

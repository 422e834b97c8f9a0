// Look-ups over the table of RSS in the simulator, with real membership. npm run bench -- overlay has the figures for 10^5.
import test from 'ava';
import { mix32, type Peer } from '../../../src/overlay/core/index.ts';
import { Dht, dhtCodecs, keyOf, type Key, type Value } from '../../../src/overlay/dht/index.ts';
import { limits } from '../../../src/overlay/dht/limits.ts';
import { Search } from '../../../src/overlay/dht/search.ts';
import { Values } from '../../../src/overlay/dht/values.ts';
import type { Result } from '../../../src/overlay/dht/dht.ts';
import { Membership } from '../../../src/overlay/membership/index.ts';
import { Overlay, Space } from '../../../src/overlay/rss/index.ts';
import { Engine } from '../../../src/sim/engine.ts';

interface World { readonly engine: Engine; readonly dht: Dht; readonly links: Overlay }

function built (nodes: number, seed: number): World {
  const engine = new Engine({ capacity: nodes, seed, codecs: [...Membership.codecs, ...Overlay.codecs, ...dhtCodecs] });
  const membership = new Membership(engine, { rows: engine.rows, fallback: () => [0, 1], verdict: (self, peer, why) => engine.gone(self, peer, why) });
  engine.add(membership);
  const links = new Overlay(engine, membership, [new Space(engine.book, { attributes: ['cores', 'memory'] })], engine.rows);
  engine.add(links);
  const dht = new Dht(engine, links);
  engine.add(dht);
  for (let node = 0; node < nodes; node++) {
    engine.book.set(node, { cores: 2 ** engine.random.below(7), memory: 2 ** (30 + engine.random.below(8)) });
    engine.start(node, node === 0 ? [] : [engine.random.below(node), engine.random.below(node)]);
  }
  engine.run(30 * engine.cycle_ms);
  return { engine, dht, links };
}

const living = ({ engine }: World): Peer[] => Array.from({ length: engine.capacity }, (_, node) => node).filter((node) => engine.alive[node] === 1);

function owner (world: World, { high, low }: Key): Peer {
  const distance = (peer: Peer): number => ((world.links.high(peer) ^ high) >>> 0) * 2 ** 32 + ((world.links.low(peer) ^ low) >>> 0);
  return living(world).reduce((best, peer) => (distance(peer) < distance(best) ? peer : best));
}

function lookUp (world: World, from: Peer, key: Key): Result {
  let found: Result | null = null;
  world.dht.find(from, key, (result) => { found = result; });
  for (let waited = 0; found === null && waited < 20; waited++) world.engine.run(1_000);
  return found!;
}

const anyKey = ({ engine }: World): Key => ({ high: engine.random.word(), low: engine.random.word() });

test('a look-up finds the closest node, from wherever it begins', (t) => {
  const world = built(1000, 3);
  let right = 0;
  for (let i = 0; i < 200; i++) {
    const key = anyKey(world);
    if (lookUp(world, world.engine.random.below(1000), key).closest[0] === owner(world, key)) right++;
  }
  t.true(right >= 199, `${right} of 200`);
});

test('also while one node in a hundred dies and another comes every ten seconds', (t) => {
  const world = built(800, 5);
  const { engine } = world;
  let [right, all] = [0, 0];
  for (let round = 0; round < 15; round++) {
    for (let i = 0; i < 8; i++) {
      const up = living(world);
      const victim = up[engine.random.below(up.length)]!;
      engine.crash(victim);
      engine.run(500);
      const others = living(world);
      engine.start(victim, [others[engine.random.below(others.length)]!, others[engine.random.below(others.length)]!]);
      const key = anyKey(world);
      const from = others[engine.random.below(others.length)]!;
      const found = lookUp(world, from, key).closest[0];
      all++;
      if (found === owner(world, key)) right++;
    }
    engine.run(5_000);
  }
  t.true(right / all >= 0.98, `${right} of ${all}`);
});

test('a value outlives the node that brought it and all but one of those that keep it, and the newest wins', (t) => {
  const world = built(300, 7);
  const key = keyOf('application/7');
  const value = (version: number, text: string): Value => ({ version, life_ms: 600_000, bytes: Buffer.from(text) });
  let told = 0;
  world.dht.put(11, key, value(1, 'old'), (count) => { told = count; });
  world.engine.run(5_000);
  t.is(told, limits.replicas);
  world.dht.put(12, key, value(2, 'new'), () => {});
  world.engine.run(5_000);
  for (const peer of [11, 12, ...lookUp(world, 20, key).closest.slice(0, limits.replicas - 1)]) world.engine.crash(peer);
  let found: Result | null = null;
  world.dht.get(living(world)[0]!, key, (result) => { found = result; });
  world.engine.run(15_000);
  t.is(Buffer.from(found!.value!.bytes).toString(), 'new');
  world.engine.run(700_000);
  world.dht.get(living(world)[0]!, key, (result) => { found = result; });
  world.engine.run(15_000);
  t.is(found!.value, null, 'its life is over');
});

test('an answer that was not asked for, and a late one, change nothing', (t) => {
  const world = built(30, 9);
  world.engine.send(3, 4, { kind: 65, id: 1, peers: [5], value: null } as never);
  world.engine.run(1_000);
  t.is(world.engine.metrics.get('rejected.not_asked'), 1);
});

test('a search asks at most three at a time and ends when the closest have answered', (t) => {
  const table = { high: (peer: Peer) => mix32(peer), low: () => 0, closest: () => [], suspect: () => {} };
  const search = new Search({ high: 0, low: 0 }, false, table);
  search.add(Array.from({ length: 20 }, (_, i) => i + 1), 999);
  const first = search.next(0);
  t.is(first.length, 3);
  t.deepEqual(search.next(0), []);
  t.false(search.answered(999));
  t.true(search.answered(first[0]!));
  t.false(search.answered(first[0]!), 'twice is once');
  t.false(search.done);
  t.deepEqual(search.late(limits.answer_ms), [], 'asked again first');
  search.next(limits.answer_ms);
  t.is(search.late(2 * limits.answer_ms).length, 2);
  for (let time = 3; !search.done; time++) for (const peer of search.next(time * limits.answer_ms)) search.answered(peer);
  t.is(search.closest(4).length, 4);
});

test('one peer cannot fill the store of another, and what is too old or too new is told apart', (t) => {
  const values = new Values();
  const value = (version: number, life_ms = 1_000): Value => ({ version, life_ms, bytes: Buffer.from('x') });
  for (let i = 0; i < limits.values_per_peer_max; i++) t.true(values.keep({ high: i, low: 0 }, value(1), 7, 0));
  t.false(values.keep({ high: 1, low: 1 }, value(1), 7, 0));
  t.true(values.keep({ high: 1, low: 1 }, value(1), 8, 0));
  t.false(values.keep({ high: 1, low: 1 }, value(0), 9, 0));
  t.is(values.get({ high: 1, low: 1 }, 999)?.version, 1);
  t.is(values.get({ high: 1, low: 1 }, 1_000), null);
  t.true(values.keep({ high: 1, low: 2 }, value(1), 7, 2_000), 'what has expired makes room');
  t.false(values.keep({ high: 1, low: 3 }, { ...value(1), bytes: Buffer.alloc(limits.value_bytes_max + 1) }, 7, 2_000));
});

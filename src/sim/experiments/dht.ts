import type { Peer } from '../../overlay/core/index.ts';
import { Dht, dhtCodecs, type Key } from '../../overlay/dht/index.ts';
import { Membership } from '../../overlay/membership/index.ts';
import { Overlay, Space } from '../../overlay/rss/index.ts';
import { Engine } from '../engine.ts';
import { digestOf, percentOf, type Experiment, type ExperimentOptions, type Figures } from '../experiment.ts';

const settle_cycles = 30;
/** Of the nodes, in a cycle; as many come anew. */
const churn = 0.01;
const look_ups_a_second = 10;

interface World {
  readonly engine: Engine;
  readonly links: Overlay;
  readonly dht: Dht;
}

function build({ nodes, seed }: ExperimentOptions): World {
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
  engine.run(settle_cycles * engine.cycle_ms);
  return { engine, links, dht };
}

/** The living node whose key is nearest to `key`. */
function owner({ engine, links }: World, key: Key): Peer {
  const distance = (peer: Peer): number => ((links.high(peer) ^ key.high) >>> 0) * 2 ** 32 + ((links.low(peer) ^ key.low) >>> 0);
  let best = -1;
  let least = Number.POSITIVE_INFINITY;
  for (let peer = 0; peer < engine.capacity; peer++) {
    if (engine.alive[peer] === 0 || distance(peer) >= least) continue;
    best = peer;
    least = distance(peer);
  }
  return best;
}

function someone({ engine }: World): Peer {
  for (;;) {
    const peer = engine.random.below(engine.capacity);
    if (engine.alive[peer] === 1) return peer;
  }
}

interface Counted { begun: number; ended: number; right: number; asked: number }

function look(world: World, counted: Counted): void {
  const { engine, dht } = world;
  const key: Key = { high: engine.random.word(), low: engine.random.word() };
  const from = someone(world);
  counted.begun++;
  dht.find(from, key, (result) => {
    if (engine.alive[from] === 0) return;
    counted.ended++;
    counted.asked += result.asked;
    if (result.closest[0] === owner(world, key)) counted.right++;
  });
}

function replaceOne(world: World): void {
  const { engine } = world;
  const victim = someone(world);
  engine.crash(victim);
  engine.start(victim, [someone(world), someone(world)].filter((peer) => peer !== victim));
}

function run(options: ExperimentOptions): Figures {
  const world = build(options);
  const { engine } = world;
  const cycles: Counted[] = [];
  let owed = 0;
  for (let cycle = 0; cycle < options.cycles; cycle++) {
    const counted: Counted = { begun: 0, ended: 0, right: 0, asked: 0 };
    cycles.push(counted);
    for (let second = 0; second < engine.cycle_ms / 1_000; second++) {
      for (owed += (options.nodes * churn * 1_000) / engine.cycle_ms; owed >= 1; owed--) replaceOne(world);
      for (let i = 0; i < look_ups_a_second; i++) look(world, counted);
      engine.run(1_000);
    }
  }
  engine.run(2 * engine.cycle_ms);
  const sum = (value: (each: Counted) => number): number => cycles.reduce((all, each) => all + value(each), 0);
  const [ended, right, asked] = [sum((each) => each.ended), sum((each) => each.right), sum((each) => each.asked)];
  const rows = cycles.map((each) => [each.begun, each.ended === 0 ? null : each.right / each.ended, each.asked / Math.max(1, each.ended)]);
  return {
    experiment: 'dht', nodes: options.nodes, seed: options.seed, over: 'cycle', columns: ['look-ups', 'right', 'asked'], plotted: ['right'], rows,
    totals: { look_ups: ended, right: right / Math.max(1, ended), asked: asked / Math.max(1, ended) },
    facts: [`${ended} look-ups while 1 % of the nodes die, and as many come anew, in each cycle: ${percentOf(right / Math.max(1, ended))} end at the right node, ${(asked / Math.max(1, ended)).toFixed(1)} nodes asked`],
    digest: digestOf(rows, engine.random.word()),
  };
}

export const dht: Experiment = { name: 'dht', summary: 'look-ups by key while 1 % of the nodes die and join in each cycle', nodes: 2_000, cycles: 20, run };

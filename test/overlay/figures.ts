// The figures of topics, shapes and the DHT at their full size, in the simulator; the tests run the same with fewer nodes.
//   node test/overlay/figures.ts topics [NODES] | shapes [NODES] [SHAPE…] | dht [NODES] [CHURN]
// CHURN: the share of nodes that die, and come anew, in 10 s.
import type { Peer } from '../../src/overlay/core/index.ts';
import { Dht, dhtCodecs, type Key } from '../../src/overlay/dht/index.ts';
import { Membership } from '../../src/overlay/membership/index.ts';
import { Overlay, Space } from '../../src/overlay/rss/index.ts';
import { Shapes, parseShape, shapeCodecs, type Shape } from '../../src/overlay/shapes/index.ts';
import { Engine } from '../../src/sim/engine.ts';
import { TopicWorld } from './support.ts';

const print = (what: string, figures: object): void => console.log(what.padEnd(28), JSON.stringify(figures));

function topics (nodes: number): void {
  const world = new TopicWorld(nodes, 7);
  world.engine.run(60_000);
  const round = (what: string, count: number): void => {
    const publisher = world.anyone();
    const before = world.received();
    const numbers = Array.from({ length: count }, () => {
      const number = world.publish(publisher);
      world.engine.run(1_000);
      return number;
    });
    world.engine.run(30_000);
    const shares = numbers.map((number) => world.delivered(publisher, number));
    print(what, { delivered: shares.reduce((sum, share) => sum + share, 0) / count, redundancy: (world.received() - before) / (count * (world.living().length - 1)) - 1 });
  };
  round(`${nodes} subscribers, 20`, 20);
  for (const node of world.living()) if (world.engine.random.chance(0.8)) world.engine.crash(node);
  round('80 % died, the next 10', 10);
}

function shapes (nodes: number, text: string): void {
  const shape: Shape = parseShape(text, nodes);
  const engine = new Engine({ capacity: nodes, seed: 7, codecs: shapeCodecs });
  const protocol = new Shapes(engine);
  engine.add(protocol);
  const position = engine.random.shuffle(Array.from({ length: nodes }, (_, i) => i));
  for (let node = 0; node < nodes; node++) engine.start(node, []);
  for (let node = 0; node < nodes; node++) {
    const seeds = Array.from({ length: 10 }, () => engine.random.below(nodes)).map((peer) => ({ peer, position: position[peer]!, age: 0 }));
    protocol.join(node, { name: 'job', shape, position: position[node]!, seeds, changed: () => {} });
  }
  for (let rounds = 1; rounds <= 60; rounds++) {
    engine.run(1_000);
    let missing = 0;
    for (let node = 0; node < nodes; node++) {
      const have = new Set(protocol.neighbours(node, 'job').map((each) => each.position));
      for (const [first] of shape.places(position[node]!)) if (first !== undefined && !have.has(first)) missing++;
    }
    if (missing === 0) return print(`${text} of ${nodes}`, { rounds, messages_per_node_and_round: (engine.messages[80]! + engine.messages[81]!) / nodes / rounds });
  }
  print(`${text} of ${nodes}`, { rounds: null });
}

function dht (nodes: number, churn: number): void {
  const engine = new Engine({ capacity: nodes, seed: 3, codecs: [...Membership.codecs, ...Overlay.codecs, ...dhtCodecs] });
  const membership = new Membership(engine, { rows: engine.rows, fallback: () => [0, 1], verdict: (self, peer, why) => engine.gone(self, peer, why) });
  engine.add(membership);
  const links = new Overlay(engine, membership, [new Space(engine.book, { attributes: ['cores', 'memory'] })], engine.rows);
  engine.add(links);
  const protocol = new Dht(engine, links);
  engine.add(protocol);
  for (let node = 0; node < nodes; node++) {
    engine.book.set(node, { cores: 2 ** engine.random.below(7), memory: 2 ** (30 + engine.random.below(8)) });
    engine.start(node, node === 0 ? [] : [engine.random.below(node), engine.random.below(node)]);
  }
  engine.run(30 * engine.cycle_ms);
  const distance = (peer: Peer, { high, low }: Key): number => ((links.high(peer) ^ high) >>> 0) * 2 ** 32 + ((links.low(peer) ^ low) >>> 0);
  const someone = (): Peer => {
    for (;;) {
      const peer = engine.random.below(nodes);
      if (engine.alive[peer] === 1) return peer;
    }
  };
  let [right, all, asked, owed] = [0, 0, 0, 0];
  for (let second = 0; second < 200; second++) {
    for (owed += (nodes * churn) / 10; owed >= 1; owed--) {
      const victim = someone();
      engine.crash(victim);
      engine.start(victim, [someone(), someone()].filter((peer) => peer !== victim));
    }
    for (let i = 0; i < 10; i++) {
      const key: Key = { high: engine.random.word(), low: engine.random.word() };
      const from = someone();
      protocol.find(from, key, (result) => {
        if (engine.alive[from] !== 1) return;
        let best = -1;
        for (let peer = 0; peer < nodes; peer++) if (engine.alive[peer] === 1 && (best < 0 || distance(peer, key) < distance(best, key))) best = peer;
        all++;
        asked += result.asked;
        if (result.closest[0] === best) right++;
      });
    }
    engine.run(1_000);
  }
  engine.run(20_000);
  print(`${nodes} nodes, ${churn * 100} % churn in 10 s`, { look_ups: all, right: right / all, asked: asked / all });
}

const [what = '', first, ...rest] = process.argv.slice(2);
switch (what) {
  case 'topics': topics(Number(first ?? 10_000)); break;
  case 'shapes': for (const shape of rest.length > 0 ? rest : ['ring', 'torus', 'tree']) shapes(Number(first ?? 16_384), shape); break;
  case 'dht': dht(Number(first ?? 10_000), Number(rest[0] ?? 0.01)); break;
  default: console.error('topics, shapes or dht'); process.exitCode = 2;
}

import { Shapes, parseShape, shapeCodecs, type Shape } from '../../overlay/shapes/index.ts';
import { Engine } from '../engine.ts';
import { digestOf, type Experiment, type ExperimentOptions, type Figures } from '../experiment.ts';

const round_ms = 1_000;
const seeds_each = 10;
const dying_share = 0.1;

interface World {
  readonly engine: Engine;
  readonly shapes: Shapes;
  readonly shape: Shape;
  /** Of each node, and of each position its node. */
  readonly position: readonly number[];
  readonly node: Uint32Array;
}

function build(text: string, { nodes, seed }: ExperimentOptions): World {
  const engine = new Engine({ capacity: nodes, seed, codecs: shapeCodecs });
  const shapes = new Shapes(engine);
  const shape = parseShape(text, nodes);
  engine.add(shapes);
  const position = engine.random.shuffle(Array.from({ length: nodes }, (_, i) => i));
  const node = new Uint32Array(nodes);
  position.forEach((each, at) => { node[each] = at; });
  for (let at = 0; at < nodes; at++) engine.start(at, []);
  for (let at = 0; at < nodes; at++) {
    const seeds = Array.from({ length: seeds_each }, () => engine.random.below(nodes)).map((peer) => ({ peer, position: position[peer]!, age: 0 }));
    shapes.join(at, { name: 'job', shape, position: position[at]!, seeds, changed: () => {} });
  }
  return { engine, shapes, shape, position, node };
}

/** The share of the places beside living members that the first living one for them has. */
function right({ engine, shapes, shape, position, node }: World): number {
  let [all, found] = [0, 0];
  for (let at = 0; at < position.length; at++) {
    if (engine.alive[at] === 0) continue;
    const have = new Set(shapes.neighbours(at, 'job').map((each) => each.position));
    for (const place of shape.places(position[at]!)) {
      const first = place.find((each) => engine.alive[node[each]!] === 1);
      if (first === undefined) continue;
      all++;
      if (have.has(first)) found++;
    }
  }
  return all === 0 ? 1 : found / all;
}

/** Rounds until all is right, at most `most`; null: more. */
function rounds(world: World, most: number, shares: number[]): number | null {
  for (let round = 1; round <= most; round++) {
    world.engine.run(round_ms);
    shares.push(right(world));
    if (shares.at(-1) === 1) return round;
  }
  return null;
}

const kinds_of_shape = ['ring', 'torus', 'mesh', 'tree', 'hypercube'] as const;
const possible = (kind: string, nodes: number): boolean => kind !== 'hypercube' || Number.isInteger(Math.log2(nodes));

function run(options: ExperimentOptions): Figures {
  const kinds = kinds_of_shape.filter((kind) => possible(kind, options.nodes));
  const totals: Record<string, number | null> = {};
  const facts: string[] = [];
  let chance = 0;
  const shares = kinds.map((kind) => {
    const world = build(kind, options);
    const all: number[] = [];
    totals[kind] = rounds(world, options.cycles, all);
    const messages = world.engine.messages.reduce((sum, each) => sum + each, 0) / options.nodes / all.length;
    for (let node = 0; node < options.nodes; node++) if (world.engine.random.chance(dying_share)) world.engine.crash(node);
    // Who is silent is missed after a while only: healing takes that, and then some rounds.
    totals[`${kind}_healed`] = rounds(world, 2 * options.cycles, []);
    facts.push(`${kind}: stands after ${totals[kind] ?? `more than ${options.cycles}`} rounds, ${messages.toFixed(1)} messages a member and round; a tenth dies: whole again after ${totals[`${kind}_healed`] ?? `more than ${2 * options.cycles}`}`);
    chance ^= world.engine.random.word();
    return all;
  });
  const rows = Array.from({ length: Math.max(...shares.map((all) => all.length)) }, (_, round) => shares.map((all) => all[round] ?? 1));
  return { experiment: 'shapes', nodes: options.nodes, seed: options.seed, over: 'round', columns: kinds, plotted: kinds, rows, totals, facts, digest: digestOf(rows, chance) };
}

export const shapes: Experiment = { name: 'shapes', summary: 'members find their neighbours in ring, torus, mesh, tree and hypercube; then a tenth dies', nodes: 1_024, cycles: 60, run };

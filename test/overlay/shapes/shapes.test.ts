// Shapes in the simulator: 256 members that know ten others by chance. npm run bench -- overlay has the figures for 16,384.
import test from 'ava';
import { XosError } from '../../../src/core/errors.ts';
import { Shapes, parseShape, ranked, shapeCodecs, type Shape } from '../../../src/overlay/shapes/index.ts';
import { kinds } from '../../../src/overlay/shapes/kinds.ts';
import { Engine } from '../../../src/sim/engine.ts';

interface World { readonly engine: Engine; readonly shapes: Shapes; readonly at: readonly number[]; readonly position: readonly number[]; readonly told: Map<number, number[]> }

function start (shape: Shape, seed = 7): World {
  const { size } = shape;
  const engine = new Engine({ capacity: size, seed, codecs: shapeCodecs });
  const shapes = new Shapes(engine);
  engine.add(shapes);
  const position = engine.random.shuffle(Array.from({ length: size }, (_, i) => i));
  const at = new Array<number>(size);
  position.forEach((place, node) => { at[place] = node; });
  const told = new Map<number, number[]>();
  for (let node = 0; node < size; node++) engine.start(node, []);
  for (let node = 0; node < size; node++) {
    const seeds = Array.from({ length: 10 }, () => engine.random.below(size)).map((peer) => ({ peer, position: position[peer]!, age: 0 }));
    t_join(shapes, node, shape, position[node]!, seeds, told);
  }
  return { engine, shapes, at, position, told };
}

function t_join (shapes: Shapes, node: number, shape: Shape, position: number, seeds: { peer: number; position: number; age: number }[], told: Map<number, number[]>): void {
  shapes.join(node, { name: 'job', shape, position, seeds, changed: (neighbours) => void told.set(node, neighbours.map((each) => each.position)) });
}

/** The share of neighbours that are not there yet, over all living members. */
function missing ({ engine, shapes, at, position }: World, shape: Shape): number {
  const lives = (place: number): boolean => engine.alive[at[place]!] === 1;
  let [wrong, all] = [0, 0];
  position.forEach((place, node) => {
    if (engine.alive[node] !== 1) return;
    const have = new Set(shapes.neighbours(node, 'job').map((each) => each.position));
    for (const candidates of shape.places(place)) {
      const expected = candidates.find(lives);
      if (expected === undefined) continue;
      all++;
      if (!have.has(expected)) wrong++;
    }
  });
  return wrong / all;
}

for (const [text, rounds] of [['ring', 20], ['torus', 20], ['torus:32x8', 20], ['mesh', 20], ['tree:2', 25], ['tree:5', 25], ['hypercube', 25]] as const) {
  test(`${text} of 256 stands within ${rounds} rounds, and everybody was told its neighbours`, (t) => {
    const shape = parseShape(text, 256);
    const world = start(shape);
    world.engine.run(rounds * 1_000);
    t.is(missing(world, shape), 0);
    for (let node = 0; node < 256; node++) t.deepEqual(world.told.get(node), world.shapes.neighbours(node, 'job').map((each) => each.position));
  });
}

test('a ring closes over its dead, and takes back who returns', (t) => {
  const shape = parseShape('ring', 128);
  const world = start(shape);
  world.engine.run(20_000);
  const dead = [3, 4, 5, 60, 100].map((place) => world.at[place]!);
  for (const node of dead) world.engine.crash(node);
  world.engine.run(120_000);
  t.is(missing(world, shape), 0);
  t.deepEqual(world.shapes.neighbours(world.at[2]!, 'job').map((each) => each.position).sort((a, b) => a - b), [1, 6]);
  const [back] = dead;
  world.engine.start(back!, []);
  t_join(world.shapes, back!, shape, 3, [{ peer: world.at[90]!, position: 90, age: 0 }], world.told);
  world.engine.run(120_000);
  t.deepEqual(world.shapes.neighbours(world.at[2]!, 'job').map((each) => each.position).sort((a, b) => a - b), [1, 3]);
});

test("over a hole in a tree the dead one's children find their grandparent, and it them", (t) => {
  const shape = parseShape('tree:2', 63);
  const world = start(shape);
  world.engine.run(25_000);
  world.engine.crash(world.at[1]!);
  world.engine.run(120_000);
  const of = (place: number): number[] => world.shapes.neighbours(world.at[place]!, 'job').map((each) => each.position);
  t.true(of(3).includes(0) && of(4).includes(0));
  t.true([2, 3, 4].every((child) => of(0).includes(child)), of(0).join());
});

test("a user's own ranking function: each gets those at the least distance", (t) => {
  const shape = ranked('by parity', 64, 3, (a, b) => (a % 2 === b % 2 ? 0 : 1_000) + Math.abs(a - b));
  const world = start(shape);
  world.engine.run(25_000);
  for (let node = 0; node < 64; node++) {
    const own = world.position[node]!;
    const best = Array.from({ length: 64 }, (_, place) => place).filter((place) => place !== own).map((place) => shape.distance(place, own)).sort((a, b) => a - b)[2]!;
    for (const each of world.shapes.neighbours(node, 'job')) t.true(shape.distance(each.position, own) <= best);
  }
});

for (const [text, size, words] of [
  ['star', 4, /there are ring, torus/], ['torus:3x4', 13, /12 places for 13/], ['torus:3', 3, /not WIDTHxHEIGHT/], ['hypercube', 12, /2, 4, 8, 16/], ['tree:1', 5, /from 2 to 64/], ['ring:4', 5, /takes nothing/],
  ['ring', 0, /not between 1/], ['ring', 2 ** 21, /not between 1/], ['nearest:99', 5, /from 1 to/],
] as const) {
  test(`no shape: ${text} of ${size}`, (t) => t.is(t.throws(() => parseShape(text, size), { instanceOf: XosError, message: words }).code, 'XOS_BAD_SHAPE'));
}

test('shapes of one and two members stand alone and together', (t) => {
  t.deepEqual(parseShape('ring', 1).places(0), []);
  t.deepEqual(parseShape('ring', 2).places(0), [[1], [1]]);
  t.deepEqual(parseShape('tree', 2).places(1), [[0]]);
  t.deepEqual(parseShape('mesh:2x1', 2).places(0), [[1]]);
});

test('who is no member, or speaks for another one, is not heard', (t) => {
  const world = start(parseShape('ring', 16));
  world.engine.run(5_000);
  world.engine.send(3, 4, { kind: kinds.offer, instance: 1, wanted: 0, entries: [{ peer: 3, position: 1, age: 0 }] } as never);
  world.engine.send(3, 4, { kind: kinds.offer, instance: 1, wanted: 0, entries: [] } as never);
  world.engine.run(1_000);
  t.is(world.engine.metrics.get('rejected.no_instance'), 2);
});

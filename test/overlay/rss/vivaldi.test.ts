import test from 'ava';
import { Vivaldi, distance_ms } from '../../../src/overlay/rss/index.ts';
import { Engine } from '../../../src/sim/engine.ts';

const places = [[0, 0], [40, 0], [0, 30], [40, 30], [80, 10], [20, 70]] as const;
const real = (one: number, other: number): number => 4 + Math.hypot(places[one]![0] - places[other]![0], places[one]![1] - places[other]![1]);

test('coordinates of nodes in a plane come to foretell their round trips', (t) => {
  const engine = new Engine({ capacity: places.length, seed: 5 });
  const vivaldi = new Vivaldi(engine);
  for (let node = 0; node < places.length; node++) vivaldi.start(node);
  for (let round = 0; round < 600; round++) {
    const [one, other] = engine.random.shuffle([...places.keys()]) as [number, number];
    t.true(vivaldi.measured(one, real(one, other), engine.book.coordinates.subarray(other * 4, other * 4 + 4)));
  }
  for (let one = 0; one < places.length; one++) {
    for (let other = 0; other < one; other++) {
      const [x, y, height] = engine.book.coordinates.subarray(one * 4, one * 4 + 3) as unknown as [number, number, number];
      const foretold = distance_ms(engine.book, other, { x, y, height });
      t.true(Math.abs(foretold / real(one, other) - 1) < 0.15, `${one} ${other}: ${foretold} and ${real(one, other)}`);
    }
  }
});

for (const [what, ms, peer] of [
  ['a round trip of the past', -1, [0, 0, 1, 0.5]], ['a stall', 6_000, [0, 0, 1, 0.5]], ['no number', Number.NaN, [0, 0, 1, 0.5]],
  ['a peer at no place', 10, [Number.NaN, 0, 1, 0.5]], ['a peer at the end of the world', 10, [1e9, 0, 1, 0.5]], ['a peer below the ground', 10, [0, 0, -1, 0.5]], ['an error below nothing', 10, [0, 0, 1, -1]],
] as const) {
  test(`nonsense is dropped and counted: ${what}`, (t) => {
    const engine = new Engine({ capacity: 1, seed: 5 });
    const vivaldi = new Vivaldi(engine);
    vivaldi.start(0);
    const before = [...engine.book.coordinates];
    t.false(vivaldi.measured(0, ms, peer));
    t.deepEqual([...engine.book.coordinates], before);
    t.is(engine.metrics.get('rejected.coordinates'), 1);
  });
}

import test from 'ava';
import { Book, Random } from '../../../src/overlay/core/index.ts';
import { Space, matcher, quantileCuts, range, type Query } from '../../../src/overlay/rss/index.ts';
import { Region } from '../../../src/overlay/rss/region.ts';

function spaceOf(nodes: number, attributes: readonly string[]): { space: Space; book: Book; random: Random } {
  const book = new Book({ capacity: nodes });
  const random = new Random(nodes);
  const space = new Space(book, { attributes });
  for (let node = 0; node < nodes; node++) book.set(node, Object.fromEntries(attributes.map((name) => [name, 2 ** (30 * random.real())])));
  return { space, book, random };
}

test('the cells of a key are those of its attributes', (t) => {
  for (const names of [['a'], ['a', 'b'], ['a', 'b', 'c'], ['a', 'b', 'c', 'd'], ['a', 'b', 'c', 'd', 'e']]) {
    const { space, book } = spaceOf(200, names);
    for (let node = 0; node < 200; node++) {
      for (let dimension = 0; dimension < names.length; dimension++) {
        t.is(space.cellOf(space.high[node]!, space.low[node]!, dimension), space.cell(dimension, book.value(node, dimension)));
      }
    }
  }
});

test('equal nodes have different keys: the hash tells them apart', (t) => {
  const book = new Book({ capacity: 1_000 });
  const space = new Space(book, { attributes: ['a', 'b', 'c', 'd', 'e'] });
  for (let node = 0; node < 1_000; node++) book.set(node, { a: 1, b: 2, c: 3, d: 4, e: 5 });
  t.is(new Set(Array.from({ length: 1_000 }, (_, node) => `${space.high[node]} ${space.low[node]}`)).size, 1_000);
  for (let node = 1; node < 1_000; node++) t.true(space.common(0, node) >= space.attribute_bits);
});

test('cuts that are quantiles give each cell as many', (t) => {
  const random = new Random(5);
  const samples = Float64Array.from({ length: 25_600 }, () => random.real() ** 8);
  const { space, book } = spaceOf(25_600, ['a']);
  samples.forEach((value, node) => book.set(node, { a: value }));
  space.setCuts(1, [quantileCuts(Float64Array.from(samples), space.bits)]);
  const counts = new Uint32Array(1 << space.bits);
  for (const value of samples) counts[space.cell(0, value)]!++;
  t.true(counts.every((count) => count > 80 && count < 120), `${Math.min(...counts)} to ${Math.max(...counts)}`);
});

test('a box without a chance holds no node that matches, whatever the query', (t) => {
  const names = ['a', 'b', 'c'];
  const { space, book, random } = spaceOf(500, names);
  for (let round = 0; round < 60; round++) {
    const query: Query = {
      constraints: names.filter(() => random.chance(0.7)).map((name) => {
        const low = 2 ** (30 * random.real());
        if (random.chance(0.2)) return { kind: 'in', attribute: name, values: [book.value(random.below(500), book.find(name))] };
        return range(name, low, low * 2 ** (12 * random.real()));
      }),
    };
    const match = matcher(query, book);
    const region = new Region(space, query);
    for (let node = 0; node < 500; node++) {
      if (!match(node)) continue;
      for (let depth = 0; depth <= 64; depth += 3) t.true(region.shareOf(space.high[node]!, space.low[node]!, depth) > 0, `${round} ${node} ${depth}`);
    }
    t.true(region.share >= 0 && region.share <= 1);
  }
});

test('the sibling box is the one across the bit', (t) => {
  const { space } = spaceOf(300, ['a', 'b']);
  const query: Query = { constraints: [range('a', 1, 100)] };
  const region = new Region(space, query);
  for (let node = 1; node < 300; node++) {
    const level = space.common(0, node);
    const sibling = region.shareOfSibling(space.high[0]!, space.low[0]!, level);
    t.is(sibling, region.shareOf(space.high[node]!, space.low[node]!, level + 1));
  }
});

import test from 'ava';
import { Book, Random, Rows } from '../../../src/overlay/core/index.ts';
import { LinkTable, Space } from '../../../src/overlay/rss/index.ts';
import { limits } from '../../../src/overlay/rss/limits.ts';

function tableOf(nodes: number, seed: number): { table: LinkTable; space: Space; random: Random } {
  const book = new Book({ capacity: nodes });
  const random = new Random(seed);
  const space = new Space(book, { attributes: ['a', 'b', 'c'] });
  for (let node = 0; node < nodes; node++) book.set(node, { a: 2 ** (48 * random.real()), b: 2 ** (48 * random.real()), c: 2 ** (48 * random.real()) });
  const rows = new Rows(nodes);
  const table = new LinkTable(space, rows);
  rows.seal();
  for (let node = 0; node < nodes; node++) table.clear(node);
  return { table, space, random };
}

const linksOf = (table: LinkTable, self: number): { peer: number; level: number }[] => {
  const found: { peer: number; level: number }[] = [];
  table.each(self, (peer, _age, level) => found.push({ peer, level }));
  return found;
};

const sorted = (list: readonly number[]): number[] => [...list].sort((a, b) => a - b);

test('a peer is in the bucket of the bits that it has in common with us, at most three a bucket', (t) => {
  const { table, space } = tableOf(2_000, 1);
  for (let peer = 1; peer < 2_000; peer++) table.offer(0, peer, 0);
  const links = linksOf(table, 0);
  t.true(links.length > 20);
  for (const { peer, level } of links) t.is(space.common(0, peer), level);
  const counts = new Map<number, number>();
  for (const { level } of links) counts.set(level, (counts.get(level) ?? 0) + 1);
  for (const [level, count] of counts) {
    const possible = Array.from({ length: 1_999 }, (_, i) => i + 1).filter((peer) => space.common(0, peer) === level).length;
    t.is(count, Math.min(limits.bucket, possible), `bucket ${level}`);
  }
});

test('whatever is put in and taken out, the table is what a plain one would be', (t) => {
  const { table, space, random } = tableOf(500, 2);
  const model = new Map<number, Set<number>>();
  for (let step = 0; step < 20_000; step++) {
    const peer = 1 + random.below(499);
    const level = space.common(0, peer);
    const bucket = model.get(level) ?? new Set();
    model.set(level, bucket);
    if (random.chance(0.5)) {
      // Equal ages: who is in stays in.
      const taken = table.offer(0, peer, 5);
      t.is(taken, bucket.has(peer) || bucket.size < limits.bucket);
      if (taken) bucket.add(peer);
    } else t.is(table.remove(0, peer), bucket.delete(peer));
    if (step % 500 === 0) t.deepEqual(sorted(linksOf(table, 0).map((link) => link.peer)), sorted([...model.values()].flatMap((each) => [...each])));
  }
});

test('who is much fresher takes the place of the oldest in a full bucket', (t) => {
  const { table, space } = tableOf(500, 3);
  const level0 = Array.from({ length: 499 }, (_, i) => i + 1).filter((peer) => space.common(0, peer) === 0);
  const [a, b, c, d] = level0;
  table.offer(0, a!, 1);
  table.offer(0, b!, 9);
  table.offer(0, c!, 2);
  t.false(table.offer(0, d!, 9 - limits.fresher_cycles + 1));
  t.true(table.offer(0, d!, 9 - limits.fresher_cycles));
  t.false(table.contains(0, b!));
});

test('no answer is a mark, no answer twice is out, a word between clears the mark', (t) => {
  const { table } = tableOf(10, 4);
  table.offer(0, 5, 0);
  t.false(table.silent(0, 5));
  table.heard(0, 5);
  t.false(table.silent(0, 5));
  t.is(table.oldest(0), 5);
  t.true(table.silent(0, 5));
  t.false(table.contains(0, 5));
});

test('after other cuts everybody is where it belongs', (t) => {
  const { table, space } = tableOf(300, 5);
  for (let peer = 1; peer < 300; peer++) table.offer(0, peer, 0);
  const before = linksOf(table, 0).length;
  space.setCuts(1, space.cuts.map((cuts) => cuts.map((cut) => Math.sqrt(cut))));
  table.rebuild(0);
  const after = linksOf(table, 0);
  t.true(after.length > before / 3);
  for (const { peer, level } of after) t.is(space.common(0, peer), level);
});

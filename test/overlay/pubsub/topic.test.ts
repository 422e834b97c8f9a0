import test from 'ava';
import { XosError } from '../../../src/core/errors.ts';
import { TopicTree, covers, matches, overlaps, parsePattern, parseTopic } from '../../../src/overlay/pubsub/topic.ts';

const levels = (text: string): readonly string[] => text.split('/');

for (const [pattern, topic, expected] of [
  ['demo/jobs/+/state', 'demo/jobs/n1-42/state', true], ['demo/jobs/+/state', 'demo/jobs/n1-42', false], ['demo/jobs/+/state', 'demo/jobs/a/b/state', false],
  ['demo/#', 'demo/a/b/c', true], ['demo/#', 'demo', true], ['demo/#', 'other/a', false], ['demo/a', 'demo/a', true], ['demo/a', 'demo/a/b', false], ['demo/+', 'demo', false],
] as const) {
  test(`'${pattern}' ${expected ? 'matches' : 'does not match'} '${topic}'`, (t) => t.is(matches(levels(pattern), levels(topic)), expected));
}

for (const [text, words] of [
  ['', /write it as/], ['demo//a', /level is empty/], ['/demo', /level is empty/], ['demo/', /level is empty/], ['demo/+/state', /published on one topic/], ['demo/#', /published on one topic/],
  ['demo/a b', /character other than/], [`demo/${'x'.repeat(65)}`, /longer than 64/], [Array.from({ length: 17 }, () => 'a').join('/'), /more than 16 levels/], ['x'.repeat(513), /longer than 512/],
  ['demo/\u0000', /character other than/], [17, /write it as/],
] as const) {
  test(`no topic: ${JSON.stringify(text).slice(0, 40)}`, (t) => {
    const error = t.throws(() => parseTopic(text), { instanceOf: XosError, message: words });
    t.is(error.code, 'XOS_BAD_TOPIC');
  });
}

for (const [text, words] of [['demo/#/a', /only be the last/], ['demo/a+', /takes a whole level/], ['+/a', /first level is the VO/], ['#', /first level is the VO/]] as const) {
  test(`no pattern: ${text}`, (t) => void t.throws(() => parsePattern(text), { message: words }));
}

test('a topic of the greatest size is one', (t) => {
  t.is(parseTopic(Array.from({ length: 8 }, () => 'x'.repeat(63)).join('/')).length, 8);
  t.is(parseTopic(Array.from({ length: 16 }, () => 'a').join('/')).length, 16);
});

test('a subscriber is found once by whichever of its patterns, and not after it is gone', (t) => {
  const tree = new TopicTree<string>();
  const ends = [['demo/#', 'a'], ['demo/+/x', 'a'], ['demo/b/x', 'b'], ['demo/+/y', 'c'], ['demo/b/#', 'd']].map(([pattern, who]) => tree.add(parsePattern(pattern), who!));
  t.deepEqual([...tree.match(levels('demo/b/x'))].sort(), ['a', 'b', 'd']);
  t.deepEqual([...tree.match(levels('demo'))], ['a']);
  t.is(tree.size, 5);
  for (const end of [...ends, ...ends]) end();
  t.is(tree.size, 0);
  t.deepEqual([...tree.match(levels('demo/b/x'))], []);
});

test('the tree finds what comparing one by one finds', (t) => {
  let seed = 17;
  const below = (n: number): number => (seed = (seed * 1103515245 + 12345) & 0x7fffffff) % n;
  const words = ['a', 'b', 'c'];
  const patterns = Array.from({ length: 200 }, () => ['demo', ...Array.from({ length: below(4) }, () => [...words, '+'][below(4)]!), ...(below(3) === 0 ? ['#'] : [])]);
  const tree = new TopicTree<number>();
  patterns.forEach((pattern, at) => tree.add(pattern, at));
  for (let round = 0; round < 300; round++) {
    const topic = ['demo', ...Array.from({ length: below(5) }, () => words[below(3)]!)];
    t.deepEqual([...tree.match(topic)].sort((a, b) => a - b), patterns.flatMap((pattern, at) => (matches(pattern, topic) ? [at] : [])));
  }
});

test('what a grant covers, and what it only touches', (t) => {
  const both = (a: string, b: string): string => `${covers(levels(a), levels(b))} ${overlaps(levels(a), levels(b))}`;
  t.is(both('demo/app/#', 'demo/app/+/state'), 'true true');
  t.is(both('demo/app/#', 'demo/#'), 'false true');
  t.is(both('demo/app/+', 'demo/app/a'), 'true true');
  t.is(both('demo/app/a', 'demo/app/+'), 'false true');
  t.is(both('demo/app/#', 'demo/jobs/#'), 'false false');
  t.is(both('demo/+/x', 'demo/a/+'), 'false true');
});

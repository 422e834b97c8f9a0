import test from 'ava';
import { XosError } from '../../../src/core/errors.ts';
import { parseShape } from '../../../src/overlay/shapes/index.ts';
import { parseRanking } from '../../../src/overlay/shapes/ranking.ts';

const fail = (why: string): Error => new Error(why);

for (const [source, a, b, size, expected] of [
  ['a - b', 7, 3, 10, 4], ['2 + 3 * 4', 0, 0, 1, 14], ['(2 + 3) * 4', 0, 0, 1, 20], ['10 - 3 - 2', 0, 0, 1, 5], ['min(abs(a - b), size - abs(a - b))', 1, 9, 10, 2],
  ['abs(a % 10 - b % 10) + abs(floor(a / 10) - floor(b / 10))', 23, 41, 100, 4], ['xor(a, b)', 5, 6, 8, 3], ['--a', 4, 0, 1, 4], ['hypot(a, b)', 3, 4, 9, 5], ['max(a, 2.5)', 1, 0, 1, 2.5],
] as const) {
  test(`'${source}' of ${a} and ${b} among ${size} is ${expected}`, (t) => t.is(parseRanking(source, fail)(a, b, size), expected));
}

for (const [source, words] of [
  ['', /ends too early/], ['a +', /ends too early/], ['(a', /needs '\)' at its end/], ['a b', /'b' has no meaning there/], ['process', /'process' is not known/], ['abs', /needs '\('/], ['min(a)', /needs ','/],
  ['constructor(a)', /not known/], ['a ** b', /'\*' is not known/], [`${'('.repeat(100)}a${')'.repeat(100)}`, /nested too deeply/], ['a'.repeat(300), /longer than 256/],
] as const) {
  test(`no expression: '${source.slice(0, 30)}'`, (t) => void t.throws(() => parseRanking(source, fail), { message: words }));
}

test('a shape by an expression: the nearest as the user measures', (t) => {
  const shape = parseShape('rank:3:abs(a % 8 - b % 8) + abs(floor(a / 8) - floor(b / 8))', 64);
  t.is(shape.nearest, 3);
  t.is(shape.distance(0, 9), 2);
  t.is(parseShape('rank:2:sqrt(a - b)', 9).distance(1, 5), Number.MAX_VALUE, 'what is no number is far away');
  for (const text of ['rank', 'rank:a', 'rank:0:a', 'rank:99:a', 'rank:2:', 'rank:2:c']) t.is(t.throws(() => parseShape(text, 64), { instanceOf: XosError })?.code, 'XOS_BAD_SHAPE', text);
});

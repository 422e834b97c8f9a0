import test from 'ava';
import { Random } from '../../../src/overlay/core/index.ts';
import { XosError } from '../../../src/core/errors.ts';
import { accepts, parseFilter, type Subject } from '../../../src/overlay/pubsub/filter.ts';

const subject: Subject = {
  topic: 'demo/jobs/n1-7/state', node: 'n1', user: 'alice', size: 120,
  body: { state: 'ended', exit_code: 3, memory: 3 * 2 ** 30, result: { size: 9, tags: ['a'] }, ok: true, name: 'gcc-14', version: '13', ['a-b']: 1 },
};

for (const [text, expected] of [
  ['state = ended', true], ["state = 'ended'", true], ['state == "ended" and exit_code != 0', true], ['exit_code = 0', false], ['exit_code in 1..3', true], ['exit_code in 4..9', false],
  ['state in {running, ended}', true], ['memory >= 2GiB', true], ['memory < 2G', false], ['result.size > 8', true], ['not exists error', true], ['exists result.tags', true],
  ["name ~ 'gcc*'", true], ["name ~ 'gcc-1?'", true], ['ok = true, state = ended', true], ['ok = false or exit_code = 3', true], ['ok != true', false],
  ['not (state = ended and ok = true)', false], ['missing = 1', false], ['missing != 1', false], ['not missing = 1', true], ['$node = n1', true], ['$user = bob', false], ["$topic ~ 'demo/jobs/*'", true],
  ['$size <= 120', true], ['version = 13', false], ["version = '13'", true], ['state > 5', false], ['a-b = 1', true], ['toString = 1', false], ['result.constructor = 1', false], ['exists __proto__', false],
  ['state = ended and exit_code = 1 or ok = true', true], ['! ok = false && state = ended || ok = false', true], ['exit_code in -3..3', true],
] as const) {
  test(`${text}: ${expected}`, (t) => t.is(accepts(parseFilter(text), subject), expected));
}

for (const [text, at, words] of [
  ['', 1, /empty/], ['state', 6, /one of = !=/], ['state =', 8, /a value is expected, and it ends here/], ['state = a b', 11, /'and', 'or' or the end/], ['(a = 1', 7, /'\)' is expected/],
  ['a = 1)', 6, /the end is expected/], ['a in 5..3', 6, /ends before it begins/], ['a in 5', 7, /'\.\.' is expected/], ['a in {1, 2', 11, /'}' is expected/], ["a = 'x", 5, /no closing quote/],
  ['a = 5parsec', 5, /'parsec' is no unit/], ['a % 2', 3, /'%' has no meaning/], ['and = 1', 1, /a field is expected/], ['$foo = 1', 1, /no '\$foo'/], ['a < true', 9, /cannot order/],
  [`${'('.repeat(20)}a = 1`, 18, /nested deeper/], [Array.from({ length: 65 }, () => 'a = 1').join(' and '), 641, /more than 64 terms/], ['x'.repeat(1025), 1024, /longer than 1024/],
  ['not '.repeat(30) + 'a = 1', undefined, /nested deeper/], ['a ~ 5', undefined, /takes a text/],
] as const) {
  test(`not valid: ${text.slice(0, 30)}`, (t) => {
    const error = t.throws(() => parseFilter(text), { instanceOf: XosError, message: words });
    t.is(error.code, 'XOS_BAD_FILTER');
    if (at !== undefined) t.is(error.data['at'], at);
  });
}

test('a body that is no object fits no comparison', (t) => {
  for (const body of [null, 5, 'text', [1, 2]]) t.false(accepts(parseFilter('length = 2'), { ...subject, body }) && !Array.isArray(body));
  t.true(accepts(parseFilter('$node = n1'), { ...subject, body: null }));
});

test('whatever is typed, the parser ends with a filter or an error of its own', (t) => {
  const random = new Random(5);
  const below = (n: number): number => random.below(n);
  const parts = ['a', 'and', 'or', 'not', '(', ')', '=', '..', '<', '{', '}', ',', '5', '5KiB', "'x'", "'", '"', '~', 'in', 'exists', '$node', '.', '\\', '\u0000', 'é', ' '];
  let good = 0;
  for (let round = 0; round < 5_000; round++) {
    const text = Array.from({ length: 1 + below(8) }, () => parts[below(parts.length)]!).join(below(2) === 0 ? ' ' : '');
    try {
      accepts(parseFilter(text), subject);
      good++;
    } catch (thrown) {
      if (!(thrown instanceof XosError) || thrown.code !== 'XOS_BAD_FILTER') return t.fail(`${text}: ${String(thrown)}`);
    }
  }
  t.true(good > 0);
});

test('a glob with many stars is linear enough', (t) => {
  t.false(accepts(parseFilter(`name ~ '${'*a'.repeat(100)}b'`), { ...subject, body: { name: 'a'.repeat(40_000) } }));
});

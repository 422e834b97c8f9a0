import test from 'ava';
import { XosError } from '../../../src/core/errors.ts';
import { parseQuery } from '../../../src/overlay/service/query-text.ts';

const range = (attribute: string, low: number, high: number, low_open = false, high_open = false) => ({ kind: 'range', attribute, low, high, low_open, high_open });

for (const [text, expected] of [
  ['', []],
  ['cores >= 8, memory in 16GiB..64GiB, arch = x86_64', [range('cores', 8, Infinity), range('memory', 2 ** 34, 2 ** 36), { kind: 'in', attribute: 'arch', values: ['x86_64'] }]],
  ['cores > 1 and cores < 4', [range('cores', 1, Infinity, true), range('cores', -Infinity, 4, false, true)]],
  ['cores >= 4, cores <= 4', [range('cores', 4, Infinity), range('cores', -Infinity, 4)]],
  ['load<=0.5', [range('load', -Infinity, 0.5)]],
  ["model != 'AMD EPYC, 2nd'", [{ kind: 'not', attribute: 'model', values: ['AMD EPYC, 2nd'] }]],
  ['os in {Debian GNU/Linux, Ubuntu}, os_version = 13', [{ kind: 'in', attribute: 'os', values: ['Debian GNU/Linux', 'Ubuntu'] }, { kind: 'in', attribute: 'os_version', values: [13] }]],
  ['roles has osd', [{ kind: 'has', attribute: 'roles', member: 'osd' }]],
  ['near n3 within 20ms, kernel = 6.12.1-cloud', [{ kind: 'near', node: 'n3', within_ms: 20 }, { kind: 'in', attribute: 'kernel', values: ['6.12.1-cloud'] }]],
] as const) {
  test(`query: ${text}`, (t) => t.deepEqual(parseQuery(text), expected as never));
}

for (const [text, at, words] of [
  ['cores', 6, /one of = != /], ['cores >=', 9, /a number is expected, and it ends here/], ['cores >= many', 10, /'many' is no number/], ['memory in 64GiB..16GiB', 11, /ends before it begins/],
  ['memory in 16GiB', 16, /'\.\.' is expected/], ['cores >= 8 memory > 1', 12, /',' or 'and'/], ['Cores = 8', 1, /no name of an attribute/], ["a = 'x", 5, /no closing quote/], ['a = 1,', 7, /an attribute is expected/],
  ['near n3', 8, /'within'/], ['a in {1', 8, /',' or '}'/], ['a ? 1', 3, /no meaning/], ['x'.repeat(2049), 2048, /longer than/], [Array.from({ length: 33 }, () => 'a = 1').join(), undefined, /at most 32/],
  ['cores > 8, arch = x86_64, cores < 4', 27, /no 'cores' can be all that/], ['cores > 4, cores <= 4', 12, /can be all that/], ['cores in 1..4, cores in 5..9', 16, /can be all that/], ['cores < 5, cores > 1, cores > 5', 23, /can be all that/],
  ['near n3 within -1ms', 16, /nearer than 0ms/], [`cores >= ${'9'.repeat(400)}`, 10, /is no number/],
  ['cores >= 8XiB', 10, /'8XiB' is no number with one of the units/],
] as const) {
  test(`no query: ${text.slice(0, 30)}`, (t) => {
    const error = t.throws(() => parseQuery(text), { instanceOf: XosError, message: words });
    t.is(error.code, 'XOS_BAD_QUERY');
    if (at !== undefined) t.is(error.data['at'], at);
  });
}

import test from 'ava'
import { digits, quantity, table } from './table.ts'

test('columns are as wide as their widest cell, without trailing blanks', (t) => {
  t.is(table(['a', 'ratio'], [['long cell', '1'], ['b', '']], ['left', 'right']), [
    'a          ratio',
    '─────────  ─────',
    'long cell      1',
    'b',
  ].join('\n'))
})

test('a missing cell is an empty one', (t) => {
  t.is(table(['a', 'b'], [['1']]), 'a  b\n─  ─\n1')
})

test('a table without rows is its head', (t) => {
  t.is(table(['a'], []), 'a\n─')
})

const shows = test.macro({
  exec(t, value: number, text: string) { t.is(digits(value), text) },
  title: (_, value, text) => `${value} is shown as ${text}`,
})
test(shows, 0, '0')
test(shows, 0.72549, '0.725')
test(shows, 1.849, '1.85')
test(shows, 31.25, '31.3')
test(shows, 1849.4, '1,849')
test(shows, Number.NaN, '–')
test(shows, Number.POSITIVE_INFINITY, '∞')

test('a quantity has its unit, unless it is a count', (t) => {
  t.is(quantity(3, 'ms'), '3.00 ms')
  t.is(quantity(3, 'count'), '3.00')
  t.is(quantity(Number.NaN, 'ms'), '–')
})

import test from 'ava'
import { type Bar, type Verdict, judge, median, summarise } from './statistics.ts'

test('the median of an odd number of samples is the middle one', (t) => {
  t.is(median([9, 1, 5]), 5)
})

test('the median of an even number is the mean of the two in the middle', (t) => {
  t.is(median([4, 1, 3, 2]), 2.5)
})

test('the median of nothing is no number', (t) => {
  t.true(Number.isNaN(median([])))
})

test('a summary has the range and leaves its argument as it was', (t) => {
  const samples = Object.freeze([3, 1, 2])
  t.deepEqual(summarise(samples), { median: 2, min: 1, max: 3, count: 3 })
})

const atMost: Bar = { label: 'x', measure: 'ours', against: 'theirs', atMost: 2 }
const atLeast: Bar = { label: 'x', measure: 'ours', against: 'theirs', atLeast: 2 }

const judged = test.macro((t, bar: Bar, ours: number[], theirs: number[], ratio: number, verdict: Verdict) => {
  const result = judge(bar, new Map([['ours', ours], ['theirs', theirs]]))
  t.is(result.ratio, ratio)
  t.is(result.verdict, verdict)
})

test('a ratio at its upper limit meets it', judged, atMost, [4], [2], 2, 'met')
test('a ratio over its upper limit does not', judged, atMost, [4.1], [2], 2.05, 'not met')
test('a ratio at its lower limit meets it', judged, atLeast, [4], [2], 2, 'met')
test('a ratio below its lower limit does not', judged, atLeast, [3], [2], 1.5, 'not met')
test('medians are compared, not single samples', judged, atMost, [1, 2, 99], [1], 2, 'met')
test('nothing on our side is not measured', judged, atMost, [], [2], Number.NaN, 'not measured')
test('nothing on the other side is not measured', judged, atLeast, [2], [], Number.NaN, 'not measured')
test('no errors against no errors is a ratio of 0', judged, { ...atMost, atMost: 0 }, [0], [0], 0, 'met')
test('an error where none is allowed is not met', judged, { ...atMost, atMost: 0 }, [1], [0], Number.POSITIVE_INFINITY, 'not met')

test('a bar may be a constant', (t) => {
  const bar: Bar = { label: 'memory', measure: 'ours', against: 150, atMost: 1 }
  t.is(judge(bar, new Map([['ours', [75]]])).ratio, 0.5)
})

import test from 'ava'
import { parseBeat, standstill } from './beat.ts'

const log = 'ready 42\ngap 1000.0 30.0\ngap 2000.0 250.5\ngap 30'

test('a heartbeat log has a pid and the gaps, without a line that is not complete', (t) => {
  t.deepEqual(parseBeat(log), { pid: 42, gaps: [{ end_ms: 1_000, length_ms: 30 }, { end_ms: 2_000, length_ms: 250.5 }] })
})

test('a program that is not ready has no pid', (t) => {
  t.is(parseBeat('').pid, null)
  t.is(parseBeat('ready 4').pid, null)
})

test('the longest standstill within a time counts, also when it reaches beyond', (t) => {
  const beat = parseBeat(log)
  t.is(standstill(beat, 900, 2_100), 250.5)
  t.is(standstill(beat, 1_900, 1_950), 250.5)
  t.is(standstill(beat, 900, 1_100), 30)
  t.is(standstill(beat, 1_100, 1_200), 0)
})

import test from 'ava'
import { type Probe, noSamples, runRounds } from './topic.ts'

const options = (rounds: number, signal = new AbortController().signal) => ({ rounds, signal, say: () => {} })

test('probes are interleaved: all of a round before the next one', async (t) => {
  const order: string[] = []
  const probe = (id: string): Probe => ({ ids: [id], run: async (round) => { order.push(`${id}${round}`); return { [id]: round } } })
  const samples = noSamples()
  await runRounds([probe('a'), probe('b')], samples, options(2))
  t.deepEqual(order, ['a1', 'b1', 'a2', 'b2'])
  t.deepEqual(samples.values.get('b'), [1, 2])
})

test('a probe that fails is reported with its reason and the others go on', async (t) => {
  let tries = 0
  const bad: Probe = { ids: ['bad'], run: async () => { tries++; throw new Error('no such anchor') } }
  const good: Probe = { ids: ['good'], run: async () => ({ good: 1 }) }
  const samples = noSamples()
  await runRounds([bad, good], samples, options(3))
  t.is(tries, 1)
  t.is(samples.missing.get('bad'), 'no such anchor')
  t.deepEqual(samples.values.get('good'), [1, 1, 1])
})

test('a probe that forgets one of its measures leaves it missing', async (t) => {
  const samples = noSamples()
  await runRounds([{ ids: ['x', 'y'], run: async () => ({ x: 1 }) }], samples, options(1))
  t.deepEqual(samples.values.get('x'), [1])
  t.false(samples.values.has('y'))
  t.truthy(samples.missing.get('y'))
})

test('an abort ends the rounds', async (t) => {
  const controller = new AbortController()
  const samples = noSamples()
  const probe: Probe = { ids: ['x'], run: async () => { controller.abort(new Error('interrupted')); return { x: 1 } } }
  await t.throwsAsync(runRounds([probe], samples, options(3, controller.signal)), { message: 'interrupted' })
  t.deepEqual(samples.values.get('x'), [1])
})

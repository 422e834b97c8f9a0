import test from 'ava'
import { parseArguments } from './arguments.ts'

test('a topic alone takes three rounds', (t) => {
  t.deepEqual(parseArguments(['exec']), { topics: ['exec'], rounds: 3, quick: false, json: null, keep: false })
})

test('quick takes one round, unless rounds are given', (t) => {
  t.is(parseArguments(['fs', '--quick']).rounds, 1)
  t.is(parseArguments(['fs', '--quick', '--rounds', '5']).rounds, 5)
})

test('a topic that is named twice is run once', (t) => {
  t.deepEqual(parseArguments(['fs', 'exec', 'fs']).topics, ['fs', 'exec'])
})

const refused = test.macro({
  exec(t, words: string[], message: RegExp) { t.throws(() => parseArguments(words), { code: 'XOS_USAGE', message }) },
  title: (_, words: string[] = []) => `refused: ${words.join(' ') || 'nothing'}`,
})
test(refused, [], /no topic/)
test(refused, ['net'], /unknown word 'net'/)
test(refused, ['fs', '--rounds', '0'], /bad number of rounds '0'/)
test(refused, ['fs', '--rounds', '100'], /bad number/)
test(refused, ['fs', '--rounds'], /bad number of rounds ''/)
test(refused, ['fs', '--json'], /file name/)
test(refused, ['fs', '--json', '--quick'], /file name/)

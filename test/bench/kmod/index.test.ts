import test from 'ava'
import { readCosts } from './index.ts'

test('costs are read from among the rest of a console', (t) => {
  t.deepEqual(readCosts('Booting\r\nwithout 788693\r\n[ 2.0] loaded 5\r\nmarked 789918\nredirected 8x\n'), { without: 788693, marked: 789918 })
})

test('a guest that measured nothing is an error with its last words', (t) => {
  t.throws(() => readCosts('Kernel panic'), { message: /Kernel panic/ })
})

// Which system tests a run takes.
import test from 'ava'
import { existsSync } from 'node:fs'
import { systemTests } from '../../../src/setup/test/system.mjs'

const root = new URL('../../../', import.meta.url).pathname

test('a whole run takes all, a part run some and names the others, and files that are named are those', (t) => {
  const { patterns: all, leftOut: nothing } = systemTests(true, [])
  t.deepEqual(nothing, [])
  t.true(all.includes('test/system/guest.test.ts'))
  const { patterns, leftOut } = systemTests(false, [])
  t.true(patterns.length > 0 && leftOut.length > 0)
  t.deepEqual([...patterns, ...leftOut].sort(), [...all])
  t.deepEqual(systemTests(false, ['test/system/x.test.ts']), { patterns: ['test/system/x.test.ts'], leftOut: [] })
})

test('what every run takes is there', (t) => {
  const { patterns } = systemTests(false, [])
  for (const area of ['guest', 'kmod/cred']) t.true(patterns.includes(`test/system/${area}.test.ts`), area)
  for (const path of patterns) t.true(existsSync(`${root}${path}`), path)
})

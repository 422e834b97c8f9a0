import test from 'ava'
import { spawnSync } from 'node:child_process'

const main = new URL('main.ts', import.meta.url).pathname

const bench = (...words: string[]) => spawnSync(process.execPath, [main, ...words], { encoding: 'utf8' })

test('an unknown topic is refused with the usage and status 2, before anything is started', (t) => {
  const { status, stderr } = bench('network')
  t.is(status, 2)
  t.regex(stderr, /^bench: unknown word 'network'\nusage: npm run bench/)
})

test('no topic is refused', (t) => {
  t.is(bench().status, 2)
})

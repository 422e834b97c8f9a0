import test from 'ava'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { run } from '../../../src/setup/lib/run.mjs'

test('output comes back, standard error goes to the log only', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'xos-run-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const log = join(folder, 'log')
  t.is(await run('sh', ['-c', 'cat; echo aside >&2'], { input: 'told', log }), 'told')
  await run('true', [], { log })
  t.regex(readFileSync(log, 'utf8'), /aside/)
})

test('a failure tells the command, its status and its last lines', async (t) => {
  const error = await t.throwsAsync(run('sh', ['-c', 'echo the reason >&2; exit 3']))
  t.is((error as { code?: string }).code, 'XOS_SETUP_COMMAND')
  t.regex(error.message, /ended with 3:\n {4}the reason/)
})

test('a program that is missing', async (t) => {
  await t.throwsAsync(run('xos-no-such-program', []), { code: 'XOS_SETUP_COMMAND' })
})

test('an abort ends the program, a time-out too', async (t) => {
  const reason = new Error('enough')
  const controller = new AbortController()
  const running = run('sleep', ['1000'], { signal: controller.signal })
  controller.abort(reason)
  t.is(await t.throwsAsync(running), reason)
  await t.throwsAsync(run('sleep', ['1000'], { timeout_ms: 20 }), { message: /took longer than 0\.02 s/ })
  await t.throwsAsync(run('true', [], { signal: controller.signal }), { is: reason })
})

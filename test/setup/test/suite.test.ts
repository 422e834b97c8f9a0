import test from 'ava'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readCtest, readTap, runSuite } from '../../../src/setup/test/suite.mjs'

test('lines of TAP', (t) => {
  t.deepEqual(readTap('ok 1 - a › b'), { name: 'a › b', result: 'passed' })
  t.is(readTap('not ok 2 - c')?.result, 'failed')
  t.is(readTap('ok 3 - d # SKIP no fuse')?.result, 'skipped')
  t.is(readTap('  ok 4 - nested text of a failure'), null)
  t.is(readTap('1..4'), null)
})

test('lines of ctest', (t) => {
  t.deepEqual(readCtest(' 1/12 Test  #1: wire_frame ....................   Passed    0.02 sec'), { name: 'wire_frame', result: 'passed' })
  t.deepEqual(readCtest('10/12 Test #10: relay ...........***Failed    1.20 sec'), { name: 'relay (Failed)', result: 'failed' })
  t.is(readCtest(' 2/12 Test  #2: x ....***Exception: SegFault  0.1 sec')?.result, 'failed')
  t.is(readCtest(' 2/12 Test  #2: x ....***Timeout  60.0 sec')?.result, 'failed')
  t.is(readCtest(' 3/12 Test  #3: mount ........***Skipped   0.00 sec')?.result, 'skipped')
  t.is(readCtest('      Start  1: wire_frame'), null)
})

const counted = test.macro(async (t, script: string, counts: object, says: RegExp) => {
  const folder = mkdtempSync(join(tmpdir(), 'xos-suite-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  let told = ''
  const result = await runSuite({
    title: 'trial', argv: ['sh', '-c', script], cwd: '/', log: join(folder, 'log'), signal: new AbortController().signal, read: readTap,
    out: { write: (text: string) => { told += text } } as unknown as NodeJS.WritableStream,
  })
  t.deepEqual(result, counts as typeof result)
  t.regex(told, says)
  t.true(readFileSync(join(folder, 'log')).length > 0)
})

test('tests are counted, a failure is shown with its details', counted, 'echo "ok 1 - a"; echo "not ok 2 - b"; echo "  why"; echo "ok 3 - c # SKIP"; exit 1',
  { passed: 1, failed: 1, skipped: 1 }, /✗ b\n +why\n/)
test('a suite that dies counts as a failure', counted, 'echo "ok 1 - a"; kill -9 $$', { passed: 1, failed: 1, skipped: 0 }, /ended with SIGKILL/)
test('a suite that runs nothing counts as a failure', counted, 'echo nothing here', { passed: 0, failed: 1, skipped: 0 }, /ran no test/)

import test from 'ava'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ctest, tap, runSuite } from '../../../src/setup/test/suite.mjs'

test('lines of TAP', (t) => {
  t.deepEqual(tap.read('ok 1 - a › b'), { name: 'a › b', result: 'passed' })
  t.is(tap.read('not ok 2 - c')?.result, 'failed')
  t.is(tap.read('ok 3 - d # SKIP no fuse')?.result, 'skipped')
  t.is(tap.read('  ok 4 - nested text of a failure'), null)
  t.is(tap.read('1..4'), null)
})

test('lines of ctest', (t) => {
  t.deepEqual(ctest.read(' 1/12 Test  #1: wire_frame ....................   Passed    0.02 sec'), { name: 'wire_frame', result: 'passed' })
  t.deepEqual(ctest.read('10/12 Test #10: relay ...........***Failed    1.20 sec'), { name: 'relay (Failed)', result: 'failed' })
  t.is(ctest.read(' 2/12 Test  #2: x ....***Exception: SegFault  0.1 sec')?.result, 'failed')
  t.is(ctest.read(' 2/12 Test  #2: x ....***Timeout  60.0 sec')?.result, 'failed')
  t.is(ctest.read(' 3/12 Test  #3: mount ........***Skipped   0.00 sec')?.result, 'skipped')
  t.is(ctest.read('      Start  1: wire_frame'), null)
})

const counted = test.macro(async (t, script: string, counts: object, says: RegExp, reader: typeof tap = tap) => {
  const folder = mkdtempSync(join(tmpdir(), 'xos-suite-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  let told = ''
  const result = await runSuite({
    title: 'trial', argv: ['sh', '-c', script], cwd: '/', log: join(folder, 'log'), signal: new AbortController().signal, reader,
    out: { write: (text: string) => { told += text } } as unknown as NodeJS.WritableStream,
  })
  t.deepEqual(result, counts as typeof result)
  t.regex(told, says)
  t.true(readFileSync(join(folder, 'log')).length > 0)
})

test('tests are counted, a failure is shown with its details', counted, 'echo "ok 1 - a"; echo "not ok 2 - b"; echo "  why"; echo "ok 3 - c # SKIP"; exit 1',
  { passed: 1, failed: 1, skipped: 1 }, /✗ b\n +why\n/)
test('neither a line of progress nor an empty one ends the details', counted, 'echo "not ok 1 - b"; printf "  half\\rwhole\\n\\n  why\\n"; exit 1', { passed: 0, failed: 1, skipped: 0 }, /half whole\n +why\n/)
test('a suite that dies counts as a failure', counted, 'echo "ok 1 - a"; kill -9 $$', { passed: 1, failed: 1, skipped: 0 }, /ended with SIGKILL/)
test('a suite that runs nothing counts as a failure', counted, 'echo nothing here', { passed: 0, failed: 1, skipped: 0 }, /ran no test/)
test('what a failed native test printed is shown, what went well is not', counted,
  'echo "1/2 Test #1: jobs ...***Failed 1.2 sec"; echo "ok   first"; echo "FAIL second"; echo "     why"; echo "    Start  2: other"; echo "2/2 Test #2: other ... Passed 0.1 sec"; exit 8',
  { passed: 1, failed: 1, skipped: 0 }, /✗ jobs \(Failed\)\n +FAIL second\n +why\n +trial: /, ctest)

test('what a suite started ends with it when it is given up', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'xos-suite-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const stop = new AbortController()
  let worker = 0
  const reader = { read: (line: string) => { worker = Number(line); stop.abort(new Error('given up')); return null }, belongs: () => false }
  // The worker holds none of the suite's output: nothing waits for it.
  await t.throwsAsync(runSuite({
    title: 'trial', argv: ['sh', '-c', 'sleep 1000 > /dev/null 2>&1 & echo $!; wait'], cwd: '/', log: join(folder, 'log'), signal: stop.signal, reader,
  }), { message: 'given up' })
  t.true(worker > 1)
  const gone = (): boolean => { try { return readFileSync(`/proc/${worker}/stat`, 'utf8').includes(') Z ') } catch { return true } }
  while (!gone()) await new Promise((resolve) => setTimeout(resolve, 20))
})

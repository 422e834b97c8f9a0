import test from 'ava'
import { reader } from '../../../src/setup/test/conformance.mjs'

test("what the conformance suite prints is counted, and why a test failed belongs to it", (t) => {
  t.deepEqual(reader.read('ok   stress_ng_access (4.3 s)'), { name: 'stress_ng_access (4.3 s)', result: 'passed' })
  t.deepEqual(reader.read('FAIL git_clones_and_checks: it ended with 128:'), { name: 'git_clones_and_checks: it ended with 128:', result: 'failed' })
  t.deepEqual(reader.read("skip dbench_runs_clean: 'dbench' is not installed"), { name: "dbench_runs_clean: 'dbench' is not installed", result: 'skipped' })
  t.is(reader.read('okay'), null)
  t.true(reader.belongs('  write [0, 4096) by plain of node 0'))
  t.false(reader.belongs('3 passed, 1 failed, 0 skipped'))
})

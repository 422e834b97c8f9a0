import test from 'ava'
import { readArguments } from '../../../src/setup/test/arguments.mjs'

test('a part and files of it', (t) => {
  t.deepEqual(readArguments([]), { help: false, part: undefined, files: [] })
  t.deepEqual(readArguments(['system']), { help: false, part: 'system', files: [] })
  t.deepEqual(readArguments(['unit', 'test/setup', 'test/job/*.test.ts']), { help: false, part: 'unit', files: ['test/setup', 'test/job/*.test.ts'] })
  t.deepEqual(readArguments(['native', 'relay']), { help: false, part: 'native', files: ['relay'] }, 'a name of C++ tests is no path')
})

test('who asks for help, or mistypes, is told before anything is set up', (t) => {
  for (const args of [['--help'], ['system', '--help'], ['-h']]) t.deepEqual(readArguments(args), { help: true })
  t.throws(() => readArguments(['sytem']), { code: 'XOS_USAGE', message: /unknown part 'sytem': there are unit, native, grid, system, conformance/ })
  t.throws(() => readArguments(['system', '--match=boot']), { code: 'XOS_USAGE', message: /unknown option '--match=boot'/ })
  t.throws(() => readArguments(['system', 'test/system/none.test.ts']), { code: 'XOS_USAGE', message: /cannot test 'test\/system\/none\.test\.ts': there is no such file/ })
})

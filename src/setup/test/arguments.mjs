// What is typed behind `npm test --`.
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { clone } from '../lib/paths.mjs'
import { SetupError } from '../lib/errors.mjs'

export const PARTS = ['unit', 'native', 'grid', 'system', 'conformance']
/** Parts whose files are named by their paths; native tests and those of conformance have names of their own. */
const BY_PATH = ['unit', 'grid', 'system']

export const USAGE = `usage: npm test                            everything, of the system tests a part (27 minutes on two cores)
       npm test -- PART [FILE…]            one part, whole, or these files of it
       npm run test:system [-- FILE…]      the same as npm test -- system: some hours for all, since the machines are emulated

  unit [FILE…]         unit and contract tests; a FILE is a path (test/job/state.test.ts), a folder or a pattern
  native [NAME]        C++ tests with sanitizers whose names have NAME in them
  grid [FILE…]         each brings up a personal grid of its own (test/grid)
  system [FILE…]       guests and images in QEMU (test/system/README.md)
  conformance [NAME]   programs of Debian that check the file system; in no other part

Set to ask for more: XOS_ROUNDS, XOS_FUZZ_ROUNDS, XOS_OVERLAY_SOAK_S. The whole output of a part is in build/test-PART.log.`

/**
 * @param {readonly string[]} args
 * @returns {{help: true} | {help: false, part: string | undefined, files: string[]}} throws XOS_USAGE
 */
export function readArguments(args) {
  if (args.includes('--help') || args.includes('-h')) return { help: true }
  const option = args.find((arg) => arg.startsWith('-'))
  if (option !== undefined) throw new SetupError('XOS_USAGE', `unknown option '${option}'\n${USAGE}`)
  const [part, ...files] = args
  if (part !== undefined && !PARTS.includes(part)) throw new SetupError('XOS_USAGE', `unknown part '${part}': there are ${PARTS.join(', ')}\n${USAGE}`)
  // Set-up and guests take minutes: who mistyped a name is told before.
  const wrong = BY_PATH.includes(part ?? '') ? files.find((file) => !/[*?[{!]/.test(file) && !existsSync(resolve(clone, file))) : undefined
  if (wrong !== undefined) throw new SetupError('XOS_USAGE', `cannot test '${wrong}': there is no such file or folder in '${clone}'`)
  return { help: false, part, files }
}

// What names a built image. All of it follows from the sources and the version, so that two builds give the same bytes.
import { createHash } from 'node:crypto'
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { SetupError } from '../lib/errors.mjs'
import { clone } from '../lib/paths.mjs'

/** When there is no git to ask (a source archive): the year of the first release. */
const EPOCH_WITHOUT_GIT = 1767225600

/**
 * @typedef {{version: string, epoch: number, uuid: (what: string) => string, bytes: (what: string, length: number) => string}} Identity
 * `epoch`: seconds, the time of every file in the image; `uuid` and `bytes` (hex): made from flavour, version and a name.
 */

/**
 * @param {string} flavour @param {string} [version] default: the version of package.json and the time of the last commit, which sorts
 * @returns {Identity}
 */
export function makeIdentity(flavour, version) {
  const epoch = commitTime()
  const stamp = new Date(epoch * 1000).toISOString().replace(/[-:]|T|\..*/g, '').slice(0, 12)
  const name = version ?? `${JSON.parse(readFileSync(join(clone, 'package.json'), 'utf8')).version}.${stamp}`
  if (!/^[0-9][0-9A-Za-z.]{0,63}$/.test(name)) {
    throw new SetupError('XOS_USAGE', `cannot call a version '${name}': it begins with a digit and has digits, letters and dots only, at most 64`)
  }
  const bytes = (what, length) => createHash('sha512').update(`xtreemos\0${flavour}\0${name}\0${what}`).digest('hex').slice(0, length * 2)
  return { version: name, epoch, bytes, uuid: (what) => formatUuid(bytes(`uuid ${what}`, 16)) }
}

/** 32 hex digits as a version 8 UUID (RFC 9562, section 5.8: of our own making). @param {string} hex */
export function formatUuid(hex) {
  const variant = ((parseInt(hex[16], 16) & 3) | 8).toString(16)
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`
}

function commitTime() {
  if (/^\d+$/.test(process.env['SOURCE_DATE_EPOCH'] ?? '')) return Number(process.env['SOURCE_DATE_EPOCH'])
  try {
    return Number(execFileSync('git', ['-C', clone, 'log', '-1', '--format=%ct'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim())
  } catch {
    return EPOCH_WITHOUT_GIT
  }
}

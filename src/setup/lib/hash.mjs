import { createHash } from 'node:crypto'
import { lstatSync, readFileSync, readdirSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'

/**
 * A short hash of files and trees by relative name, mode and content; what is missing counts as missing, order does not matter.
 * @param {string} root @param {readonly string[]} paths relative to root @param {readonly string[]} [extra] further words that count
 */
export function hashInputs(root, paths, extra = []) {
  const hash = createHash('sha256')
  for (const word of extra) hash.update(`word ${word}\0`)
  for (const path of [...paths].sort()) add(hash, root, path)
  return hash.digest('hex').slice(0, 20)
}

function add(hash, root, path) {
  const full = join(root, path)
  const stat = lstatSync(full, { throwIfNoEntry: false })
  if (!stat) hash.update(`missing ${path}\0`)
  else if (stat.isSymbolicLink()) hash.update(`link ${path}\0${readlinkSync(full)}\0`)
  else if (stat.isDirectory()) for (const name of readdirSync(full).sort()) add(hash, root, join(path, name))
  else hash.update(`file ${path}\0${stat.mode & 0o111 ? 'x' : '-'}\0`).update(readFileSync(full)).update('\0')
}

// The mark of programs that stay local: byte 9 of the ELF header, padding that the kernel's loader ignores. The binary-format
// rule of a session matches its absence, so a marked program never leaves the kernel's own path (docs/architecture.md).
import { closeSync, fstatSync, openSync, readFileSync, readSync, readdirSync, lstatSync, readlinkSync, writeSync } from 'node:fs'
import { join } from 'node:path'

export const MARK_OFFSET = 9
export const MARK = 0x78
const PROGRAM_FOLDERS = ['usr/bin', 'usr/sbin', 'usr/local/bin', 'usr/local/sbin']
const SETUID_FOLDERS = [...PROGRAM_FOLDERS, 'usr/lib', 'usr/libexec']

/** Marks one file in place, so that its hard links stay links. @returns {boolean} whether it is an ELF file @param {string} path */
export function markFile(path) {
  const fd = openSync(path, 'r+')
  try {
    const head = Buffer.alloc(16)
    if (!fstatSync(fd).isFile() || readSync(fd, head, 0, 16, 0) < 16 || head.readUInt32BE(0) !== 0x7f454c46) return false
    if (head[MARK_OFFSET] !== MARK) writeSync(fd, Buffer.from([MARK]), 0, 1, MARK_OFFSET)
    return true
  } finally {
    closeSync(fd)
  }
}

/**
 * Marks the listed programs and every setuid or setgid file of a root.
 * @param {string} root @param {string} list path of a local-programs file
 * @returns {{marked: string[], absent: string[]}} paths inside the root; `absent`: names of which the root has no program (another flavour may)
 */
export function markLocalPrograms(root, list) {
  const { paths, absent } = findLocalPrograms(root, list)
  return { marked: paths.filter((path) => markFile(join(root, path))), absent }
}

/**
 * Files that the list means, and the setuid and setgid ones, links followed, sorted; ELF or not.
 * @param {string} root @param {string} list path of a local-programs file
 * @returns {{paths: string[], absent: string[]}} relative to the root
 */
export function findLocalPrograms(root, list) {
  const files = programFiles(root)
  const found = new Set()
  const absent = []
  for (const pattern of readList(list)) {
    const matching = pattern.startsWith('/') ? expandPath(root, pattern.slice(1)) : [...files].filter(([name]) => globMatch(pattern, name)).flatMap(([, paths]) => paths)
    if (matching.length === 0) absent.push(pattern)
    // ld.so refuses a library with a mark ("nonzero padding in e_ident"): a wildcard means the programs only.
    for (const path of matching) if (!pattern.includes('*') || !/\.so(\.|$)/.test(path)) addInside(root, path, found)
  }
  for (const path of setuidFiles(root)) addInside(root, path, found)
  return { paths: [...found].sort(), absent }
}

/** The names and paths of a local-programs file. @param {string} list */
export function readList(list) {
  return readFileSync(list, 'utf8').split('\n').flatMap((line) => line.replace(/(^|\s)#.*$/, '').trim().split(/\s+/)).filter((word) => word !== '')
}

function addInside(root, path, found) {
  // A link may be absolute (alternatives): follow it inside the root, never into the machine's own files.
  const real = resolveInside(root, path)
  if (real) found.add(real)
}

function resolveInside(root, path, depth = 0) {
  if (depth > 16) return null
  const stat = lstatSync(join(root, path), { throwIfNoEntry: false })
  if (!stat) return null
  if (!stat.isSymbolicLink()) return stat.isFile() ? path : null
  const target = readlinkSync(join(root, path))
  const next = target.startsWith('/') ? target.slice(1) : join(path, '..', target)
  return next.startsWith('..') ? null : resolveInside(root, next.replace(/^(bin|sbin|lib|lib64)\//, 'usr/$1/'), depth + 1)
}

function programFiles(root) {
  const files = new Map()
  for (const folder of PROGRAM_FOLDERS) {
    for (const name of list(join(root, folder))) files.set(name, [...(files.get(name) ?? []), join(folder, name)])
  }
  return files
}

function* setuidFiles(root) {
  const walk = function* (folder) {
    for (const name of list(join(root, folder))) {
      const path = join(folder, name)
      const stat = lstatSync(join(root, path))
      if (stat.isDirectory()) yield* walk(path)
      else if (stat.isFile() && stat.mode & 0o6000) yield path
    }
  }
  for (const folder of SETUID_FOLDERS) yield* walk(folder)
}

function expandPath(root, pattern) {
  let paths = ['']
  for (const part of pattern.split('/')) {
    paths = paths.flatMap((folder) => list(join(root, folder)).filter((name) => globMatch(part, name)).map((name) => join(folder, name)))
  }
  return paths
}

function globMatch(pattern, name) {
  if (pattern === name) return true
  if (!pattern.includes('*')) return false
  return new RegExp(`^${pattern.split('*').map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&')).join('.*')}$`).test(name)
}

function list(folder) {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

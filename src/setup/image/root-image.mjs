// The read-only file system of an image, with the hash tree that its blocks are checked by.
import { closeSync, cpSync, existsSync, fstatSync, ftruncateSync, mkdirSync, openSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { clone, imageStore, stage } from '../lib/paths.mjs'

const BLOCK = 4096

/**
 * Assembles WORK/root.img (see image/tools/assemble) and puts the hash tree behind it.
 * @param {import('./context.mjs').Context} context @param {{base: string, programs: readonly string[], files: Readonly<Record<string, string>>}} inputs
 *   `base`: the flavour's root of packages; `programs`: our Debian packages, when there are none build/stage is laid over it; `files`: path → text
 * @returns {Promise<{path: string, blocks: number, hash: string, salt: string, uuid: string}>}
 */
export async function makeRootImage(context, { base, programs, files }) {
  const { flavour, identity, kernel, work, tool, note } = context
  writeInputs(context, programs, files)
  await tool(['bash', join(clone, 'image/tools/assemble'), base, work], {
    binds: [imageStore], environment: { SOURCE_DATE_EPOCH: String(identity.epoch) }, what: `assembling the root of '${flavour.name}'`, timeout_ms: 15 * 60_000,
    onLine: (line) => { if (line.startsWith('note: ')) note?.(line.slice(6)) },
  })
  void kernel
  const path = join(work, 'root.img')
  const blocks = padToBlocks(path)
  const [salt, uuid] = [identity.bytes('salt', 32), identity.uuid('root')]
  note?.('making its hash tree')
  const told = await tool(['veritysetup', 'format', `--salt=${salt}`, `--uuid=${uuid}`, `--hash-offset=${blocks * BLOCK}`, `--data-blocks=${blocks}`, path, path])
  const hash = /^Root hash:\s+([0-9a-f]{64})$/m.exec(told)?.[1]
  if (hash === undefined) throw new Error(`veritysetup gave no root hash: ${told}`)
  return { path, blocks, hash, salt, uuid }
}

function writeInputs({ flavour, identity, kernel, work }, programs, files) {
  for (const name of ['programs', 'stage', 'files']) rmSync(join(work, name), { recursive: true, force: true })
  mkdirSync(join(work, 'programs'), { recursive: true })
  for (const path of programs) cpSync(path, join(work, 'programs', path.slice(dirname(path).length + 1)))
  if (programs.length === 0) cpSync(stage, join(work, 'stage'), { recursive: true, verbatimSymlinks: true })
  const folder = (name) => join(clone, 'image', name)
  const trees = flavour.roots.map((name) => join(folder(name), 'tree'))
  // The packages bring both; without them they are laid over the root as they lie in the sources.
  if (programs.length === 0) trees.splice(1, 0, join(folder('systemd'), 'tree'))
  else trees.shift()
  const finish = flavour.roots.flatMap((name) => (existsSync(join(folder(name), 'finish')) ? readdirSync(join(folder(name), 'finish')).sort().map((hook) => join(folder(name), 'finish', hook)) : []))
  const lines = (name, values) => writeFileSync(join(work, name), values.map((value) => `${value}\n`).join(''))
  lines('trees', trees.filter((path) => existsSync(path)))
  lines('finish', finish)
  lines('modules', [kernel.version, ...flavour.kernel.modules_without])
  lines('release', [`IMAGE_ID=xtreemos-${flavour.name}`, `IMAGE_VERSION=${identity.version}`])
  lines('options', flavour.root.options)
  writeFileSync(join(work, 'format'), flavour.root.format)
  writeFileSync(join(work, 'uuid'), identity.uuid('file system'))
  mkdirSync(join(work, 'files'), { recursive: true })
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(work, 'files', name)), { recursive: true })
    writeFileSync(join(work, 'files', name), text, { mode: 0o644 })
  }
}

function padToBlocks(path) {
  const fd = openSync(path, 'r+')
  try {
    const blocks = Math.ceil(fstatSync(fd).size / BLOCK)
    ftruncateSync(fd, blocks * BLOCK)
    return blocks
  } finally {
    closeSync(fd)
  }
}

// What is made of a root: a folder of files for the network, a disk, an ISO, an update. Each appears under its name when it is whole.
import { createHash } from 'node:crypto'
import { copyFileSync, createReadStream, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { layOut } from './boot-files.mjs'
import { makeCpio } from './cpio.mjs'
import { makeDisk } from './disk.mjs'
import { diskGrub, mediumFiles, uefiFiles } from './medium.mjs'
import { makeIso } from './iso.mjs'
import { writeSbom } from './sbom.mjs'
import { writeUpdate } from './update.mjs'

const MAKERS = { root: makeRootFiles, netboot: makeNetboot, disk: makeDiskImage, iso: makeIsoImage, update: makeUpdateBundle }

/**
 * @param {import('./context.mjs').Context} context @param {import('./context.mjs').Made} made @param {readonly string[]} outputs
 * @returns {Promise<{path: string, bytes: number, sha256: string}[]>}
 */
export async function makeOutputs(context, made, outputs) {
  const files = []
  const makers = [...outputs.map((output) => MAKERS[output]), writeSbom]
  for (const make of makers) for (const [partial, name] of await make(context, made)) {
    const path = join(context.output, name)
    const sha256 = await hashFile(partial)
    renameSync(partial, path)
    files.push({ path, bytes: statSync(path).size, sha256 })
  }
  const sums = files.map(({ path, sha256 }) => `${sha256}  ${basename(path)}\n`).join('')
  writeFileSync(join(context.output, 'SHA256SUMS'), sums)
  return files
}

/** Name of an output file. @param {import('./context.mjs').Context} context @param {string} suffix */
export const fileName = ({ flavour, identity }, suffix) => `xtreemos-${flavour.name}-${identity.version}${suffix}`

/** Kernel, initrd, command line and root as files, for boot loaders from the network. */
async function makeRootFiles(context, { root, initrd, linux, line, uki }) {
  const take = (source, suffix) => {
    const partial = join(context.output, `${fileName(context, suffix)}.partial`)
    copyFileSync(source, partial)
    return [partial, fileName(context, suffix)]
  }
  writeFileSync(join(context.work, 'line'), `${line}\n`)
  return [take(root.path, `.${context.flavour.root.format}`), take(linux, '.linux'), take(initrd, '.initrd'), take(join(context.work, 'line'), '.cmdline'), take(uki, '.efi')]
}

/**
 * What the head of a cluster gives its nodes, as a tar archive: linux, cmdline, and an initrd that has the root in it. The root goes first, as it is: an archive behind a
 * compressed one depends on the kernel's decompressor saying where that ended.
 */
async function makeNetboot(context, { root, initrd, linux, line }) {
  const { work, identity, tool, output } = context
  const folder = join(work, 'netboot')
  rmSync(folder, { recursive: true, force: true })
  layOut(folder, {
    linux: { from: linux }, cmdline: `${line}\n`,
    initrd: Buffer.concat([makeCpio([{ path: 'root.img', mode: 0o100600, data: readFileSync(root.path) }], identity.epoch), readFileSync(initrd)]),
  })
  const partial = join(output, `${fileName(context, '.netboot.tar')}.partial`)
  await tool(['tar', '--format=ustar', '--sort=name', '--owner=0', '--group=0', '--numeric-owner', '--mode=0644', `--mtime=@${identity.epoch}`, '-C', folder, '-cf', partial, 'cmdline', 'initrd', 'linux'])
  return [[partial, fileName(context, '.netboot.tar')]]
}

async function makeDiskImage(context, made) {
  const { work, identity } = context
  const esp = join(work, 'esp')
  rmSync(esp, { recursive: true, force: true })
  layOut(esp, { ...await uefiFiles(context, made), ...mediumFiles(identity.version, made) })
  const bios = await diskGrub(context, made.keys)
  const partial = join(context.output, `${fileName(context, '.img')}.partial`)
  await makeDisk(context, { root: made.root, espFiles: esp, bios, path: partial })
  return [[partial, fileName(context, '.img')]]
}

async function makeIsoImage(context, made) {
  const partial = join(context.output, `${fileName(context, '.iso')}.partial`)
  await makeIso(context, made, partial)
  return [[partial, fileName(context, '.iso')]]
}

function makeUpdateBundle(context, made) {
  const partial = join(context.output, `${fileName(context, '.update')}.partial`)
  writeUpdate(context, made, partial)
  return [[partial, fileName(context, '.update')]]
}

async function hashFile(path) {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk)
  return hash.digest('hex')
}

// The images that the tests start: version 1 as disk and ISO, an update to version 2, and updates that must not get through.
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'
import { buildImage } from '../../../src/setup/image/builder.mjs'
import { makeOverlay, makeVariables } from '../../../src/setup/image/qemu.mjs'
import { imageRoot } from '../../../src/setup/image/root.mjs'
import { toolsRoot } from '../../../src/setup/image/tools.mjs'
import { writeSigned } from '../../../src/setup/image/update.mjs'
import { hashInputs } from '../../../src/setup/lib/hash.mjs'
import { waitLock } from '../../../src/setup/lib/lock.mjs'
import { build, clone } from '../../../src/setup/lib/paths.mjs'
import { scratch } from './machine.ts'

const folder = join(build, 'image/test')
const log = join(build, 'image-test.log')
const make_ms = 20 * 60_000

export interface Images {
  readonly disk: string
  readonly iso: string
  /** To version 2.0, good. */
  readonly update: string
  /** The same with one byte of its root changed. */
  readonly tampered: string
  /** Version 3.0, signed as it should be, with a root that its own hash tree does not fit. */
  readonly broken: string
  /** Kernel, initrd and command line of the disk, for a start with words of the test's own. */
  readonly direct: { readonly linux: string, readonly initrd: string, readonly line: string }
}

/** A folder with our Debian packages, for who works on the images while others work on the programs. */
const packages = process.env['XOS_IMAGE_PACKAGES']

export async function testImages (): Promise<Images> {
  await once(folder, ['base', 'update', 'pc'], async (common) => {
    await buildImage({ ...common, flavour: 'pc', version: '1.0', outputs: ['root', 'disk', 'iso'] })
    const made = await buildImage({ ...common, flavour: 'pc', version: '2.0', outputs: ['update'] })
    spoil(readFileSync(made.files.find(({ path }) => path.endsWith('.update'))?.path ?? ''))
  })
  const file = (end: string): string => join(folder, readdirSync(folder).find((name) => name.endsWith(end)) ?? end)
  return {
    disk: file('-1.0.img'), iso: file('-1.0.iso'), update: file('-2.0.update'), tampered: file('tampered.update'), broken: file('broken.update'),
    direct: { linux: file('-1.0.linux'), initrd: file('-1.0.initrd'), line: readFileSync(file('-1.0.cmdline'), 'utf8').trim() },
  }
}

/** The smaller flavours, each with what its test starts, and the size of the file system in it. */
const small = {
  // What the head of a cluster gives its nodes.
  cluster: { roots: ['base', 'pc', 'cluster'], output: 'netboot', file: '.netboot.tar' },
  mobile: { roots: ['base', 'pc', 'mobile'], output: 'disk', file: '.img' },
} as const

export async function smallImage (flavour: keyof typeof small): Promise<{ readonly path: string, readonly root_bytes: number }> {
  const { roots, output, file } = small[flavour]
  const where = join(build, `image/test-${flavour}`)
  await once(where, roots, async (common) => void await buildImage({ ...common, flavour, version: '1.0', outputs: ['root', output] }))
  return { path: join(where, `xtreemos-${flavour}-1.0${file}`), root_bytes: statSync(join(where, `xtreemos-${flavour}-1.0.squashfs`)).size }
}

export interface FreshDisk {
  readonly images: Images
  /** The tools root. */
  readonly tools: string
  /** For further files of the test. */
  readonly folder: string
  /** Version 1.0 as it is written to a disk; what a machine changes on it is gone with the test. */
  readonly disk: string
  /** The memory of a UEFI that was never started. */
  readonly variables: string
}

/** A machine's disk before its first start, larger than the image as real ones are, and its firmware's memory. */
export async function freshDisk (t: ExecutionContext): Promise<FreshDisk> {
  const images = await testImages()
  const tools = toolsRoot().path
  const folder = scratch(t)
  const [disk, variables] = [join(folder, 'disk.qcow2'), join(folder, 'variables.fd')]
  await makeOverlay(tools, images.disk, disk)
  makeVariables(tools, variables)
  return { images, tools, folder, disk, variables }
}

type Common = Omit<Parameters<typeof buildImage>[0], 'flavour'>

/** Makes what is in a folder, unless it was made of the same inputs. */
async function once (where: string, roots: readonly string[], make: (common: Common) => Promise<void>): Promise<void> {
  const inputs = hashInputs(clone, [...roots.map((root) => `image/${root}`), 'image/initrd', 'image/boot', 'image/tools', 'kmod', 'src/setup/image', ...(packages === undefined ? ['image/packages', 'image/systemd', 'src', 'native', 'pam'] : [])], [imageRoot(roots).path])
  mkdirSync(where, { recursive: true })
  const lock = await waitLock(`${where}.lock`, 'making the images of the tests', { timeout_ms: make_ms })
  if (!('release' in lock)) throw new Error(`process ${lock.holder.pid} is making the images of the tests`)
  try {
    if (read(join(where, 'inputs')) === inputs) return
    for (const name of readdirSync(where)) rmSync(join(where, name), { recursive: true })
    const progress = { say: () => {}, end: () => {}, step: async <T>(_title: string, _usual_s: number, work: (note: (text: string) => void) => Promise<T>): Promise<T> => work(() => {}) }
    await make({ output: where, gridRoot: imageRoot().path, ...(packages === undefined ? {} : { packages }), log, signal: AbortSignal.timeout(make_ms), progress })
    writeFileSync(join(where, 'inputs'), inputs)
  } finally {
    lock.release()
  }
}

/** Two bad bundles made of a good one. */
function spoil (good: Buffer): void {
  const length = good.readUInt32LE(8)
  const manifest = JSON.parse(good.toString('utf8', 12, 12 + length)) as { version: string, parts: { name: string, bytes: number, sha256: string }[] }
  let at = 12 + length + 64
  const parts = manifest.parts.map((part) => ({ ...part, data: good.subarray(at, at += part.bytes) }))
  const tampered = Buffer.from(good)
  tampered.writeUInt8(tampered.readUInt8(12 + length + 64 + 4096 * 100) ^ 1, 12 + length + 64 + 4096 * 100)
  writeFileSync(join(folder, 'tampered.update'), tampered)
  // Every block of the root is damaged but for the head of the hash tree, by which the initrd knows it; the bundle itself is in order.
  const root = parts.find(({ name }) => name === 'root')
  if (root === undefined) throw new Error('the bundle has no root')
  const broken = Buffer.from(root.data)
  for (let block = 0; block < 64; block++) broken.fill(0xa5, block * 4096 + 16, block * 4096 + 32)
  const key = readFileSync(join(build, 'image/keys/update.key'))
  const listed = parts.map(({ name, bytes, sha256 }) => (name === 'root' ? { name, bytes, sha256: sha256Of(broken) } : { name, bytes, sha256 }))
  writeSigned(join(folder, 'broken.update'), { ...manifest, version: '3.0', parts: listed }, parts.map(({ name, data }) => (name === 'root' ? broken : data)), key)
}

function sha256Of (data: Buffer): string {
  return createHash('sha256').update(data).digest('hex')
}

function read (path: string): string | null {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return null
  }
}

// The images that the tests start: version 1 as disk and ISO, an update to version 2, and updates that must not get through.
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { buildImage } from '../../../src/setup/image/builder.mjs'
import { imageRoot } from '../../../src/setup/image/root.mjs'
import { writeSigned } from '../../../src/setup/image/update.mjs'
import { hashInputs } from '../../../src/setup/lib/hash.mjs'
import { waitLock } from '../../../src/setup/lib/lock.mjs'
import { build, clone } from '../../../src/setup/lib/paths.mjs'

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
}

/** A folder with our Debian packages, for who works on the images while others work on the programs. */
const packages = process.env['XOS_IMAGE_PACKAGES']

export async function testImages (): Promise<Images> {
  const inputs = hashInputs(clone, ['image/base', 'image/update', 'image/pc', 'image/initrd', 'image/boot', 'image/tools', 'src/setup/image', ...(packages === undefined ? ['image/packages', 'image/systemd', 'src', 'native', 'pam'] : [])], [imageRoot(['base', 'update', 'pc']).path])
  mkdirSync(folder, { recursive: true })
  const lock = await waitLock(`${folder}.lock`, 'making the images of the tests', { timeout_ms: make_ms })
  if (!('release' in lock)) throw new Error(`process ${lock.holder.pid} is making the images of the tests`)
  try {
    if (read(join(folder, 'inputs')) !== inputs) await make(inputs)
  } finally {
    lock.release()
  }
  const file = (end: string): string => join(folder, readdirSync(folder).find((name) => name.endsWith(end)) ?? end)
  return { disk: file('-1.0.img'), iso: file('-1.0.iso'), update: file('-2.0.update'), tampered: file('tampered.update'), broken: file('broken.update') }
}

async function make (inputs: string): Promise<void> {
  for (const name of readdirSync(folder)) rmSync(join(folder, name), { recursive: true })
  const progress = { say: () => {}, end: () => {}, step: async <T>(_title: string, _usual_s: number, work: (note: (text: string) => void) => Promise<T>): Promise<T> => work(() => {}) }
  const common = { flavour: 'pc', output: folder, gridRoot: imageRoot().path, ...(packages === undefined ? {} : { packages }), log, signal: AbortSignal.timeout(make_ms), progress }
  await buildImage({ ...common, version: '1.0', outputs: ['disk', 'iso'] })
  const made = await buildImage({ ...common, version: '2.0', outputs: ['update'] })
  const good = readFileSync(made.files.find(({ path }) => path.endsWith('.update'))?.path ?? '')
  spoil(good)
  writeFileSync(join(folder, 'inputs'), inputs)
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

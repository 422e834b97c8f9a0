// An update bundle: everything of one version of an image, under one signature.
//
//   0   8  "XOSUPDT1"
//   8   4  length of the manifest (little-endian), at most 64 KiB
//  12   n  manifest, JSON
//       64 Ed25519 signature over all of the above
//          the parts, one behind the other, as the manifest lists them with length and SHA-256
//
// Writer: src/setup/image/update.mjs.
import { type KeyObject, createHash, verify } from 'node:crypto'
import type { FileHandle } from 'node:fs/promises'
import { XosError } from '../core/errors.ts'

const MAGIC = 'XOSUPDT1'
const HEAD_BYTES = 12
const MANIFEST_BYTES_MAX = 64 * 1024
const SIGNATURE_BYTES = 64
const CHUNK_BYTES = 1024 * 1024

/** The names that parts may have: a bundle cannot name a path. */
export const partNames = ['root', 'kernel.efi', 'linux', 'linux.sig', 'initrd', 'initrd.sig', 'boot.cfg', 'boot.cfg.sig'] as const
export type PartName = (typeof partNames)[number]

export interface Part { readonly name: PartName, readonly bytes: number, readonly sha256: string }
export interface Manifest {
  readonly flavour: string
  readonly version: string
  /** UUID and root hash of the hash tree: the identity of the file system. */
  readonly uuid: string
  readonly hash: string
  readonly parts: readonly Part[]
}
export interface Bundle extends Manifest {
  readonly file: FileHandle
  /** Where the first part begins. */
  readonly start: number
}

const versionPattern = /^[0-9][0-9A-Za-z.]{0,63}$/

function refuse(path: string, why: string): XosError {
  return new XosError('XOS_UPDATE_BUNDLE', `cannot use the update '${path}': ${why}; nothing was changed`, { path })
}

/**
 * Reads head and manifest and checks the signature; the parts are checked by `checkParts`. The file stays the caller's.
 * Throws XOS_UPDATE_BUNDLE for what is no bundle, XOS_UPDATE_SIGNATURE for one that another key, or nobody, signed.
 */
export async function openBundle(file: FileHandle, path: string, key: KeyObject): Promise<Bundle> {
  const head = await readExactly(file, 0, HEAD_BYTES)
  if (head === null || head.toString('latin1', 0, 8) !== MAGIC) throw refuse(path, 'it is no update bundle')
  const length = head.readUInt32LE(8)
  if (length === 0 || length > MANIFEST_BYTES_MAX) throw refuse(path, `its manifest cannot have ${length} bytes`)
  const rest = await readExactly(file, HEAD_BYTES, length + SIGNATURE_BYTES)
  if (rest === null) throw refuse(path, 'it ends within its manifest')
  const text = rest.subarray(0, length)
  if (!verify(null, Buffer.concat([head, text]), key, rest.subarray(length))) {
    throw new XosError('XOS_UPDATE_SIGNATURE', `cannot use the update '${path}': its signature is not that of this system's update key; it was changed, or is another maker's; nothing was changed`, { path })
  }
  return { ...readManifest(text.toString('utf8'), path), file, start: HEAD_BYTES + length + SIGNATURE_BYTES }
}

function readManifest(text: string, path: string): Manifest {
  let value: Partial<Manifest>
  try {
    value = JSON.parse(text) as Partial<Manifest>
  } catch {
    throw refuse(path, 'its manifest is no JSON')
  }
  const { flavour, version, uuid, hash, parts } = value
  if (typeof flavour !== 'string' || typeof version !== 'string' || !versionPattern.test(version) || typeof uuid !== 'string' || typeof hash !== 'string' || !Array.isArray(parts)) {
    throw refuse(path, 'its manifest lacks a field')
  }
  for (const name of partNames) if (parts.filter((part: Part) => part.name === name).length !== 1) throw refuse(path, `it has not exactly one part '${name}'`)
  if (parts.length !== partNames.length || !parts.every((part: Part) => Number.isSafeInteger(part.bytes) && part.bytes > 0 && /^[0-9a-f]{64}$/.test(part.sha256))) {
    throw refuse(path, 'its manifest lists a part wrongly')
  }
  return { flavour, version, uuid, hash, parts }
}

/** Where a part lies in the file. */
export function placeOf(bundle: Bundle, name: PartName): Part & { readonly offset: number } {
  let offset = bundle.start
  for (const part of bundle.parts) {
    if (part.name === name) return { ...part, offset }
    offset += part.bytes
  }
  throw refuse('', `it has no part '${name}'`)
}

/**
 * Reads a part in pieces and hands them on; throws XOS_UPDATE_BUNDLE at the end when it is not what was signed, so whoever writes the
 * pieces must make nothing of them valid before this has returned.
 */
export async function readPart(bundle: Bundle, name: PartName, path: string, take: (chunk: Buffer, position: number) => Promise<void> | void, signal?: AbortSignal): Promise<void> {
  const { offset, bytes, sha256 } = placeOf(bundle, name)
  const hash = createHash('sha256')
  for (let done = 0; done < bytes;) {
    signal?.throwIfAborted()
    const chunk = await readExactly(bundle.file, offset + done, Math.min(CHUNK_BYTES, bytes - done))
    if (chunk === null) throw refuse(path, `it ends within its part '${name}'`)
    hash.update(chunk)
    await take(chunk, done)
    done += chunk.length
  }
  if (hash.digest('hex') !== sha256) throw refuse(path, `its part '${name}' is not what was signed: the file is damaged or was changed`)
}

/** Reads all parts once and checks them, before anything is written. */
export async function checkParts(bundle: Bundle, path: string, signal?: AbortSignal): Promise<void> {
  for (const { name } of bundle.parts) await readPart(bundle, name, path, () => {}, signal)
}

async function readExactly(file: FileHandle, position: number, length: number): Promise<Buffer | null> {
  const buffer = Buffer.alloc(length)
  for (let done = 0; done < length;) {
    const { bytesRead } = await file.read(buffer, done, length - done, position + done)
    if (bytesRead === 0) return null
    done += bytesRead
  }
  return buffer
}

// Writer of update bundles; src/update/bundle.ts has the format and the reader.
import { createHash, createPrivateKey, sign } from 'node:crypto'
import { closeSync, openSync, readFileSync, readSync, statSync, writeSync } from 'node:fs'
import { biosFiles } from './grub.mjs'

const MAGIC = 'XOSUPDT1'
const CHUNK_BYTES = 4 << 20

/**
 * @param {import('./context.mjs').Context} context @param {import('./context.mjs').Made} made @param {string} path of the bundle
 */
export function writeUpdate({ flavour, identity }, made, path) {
  const version = identity.version
  const bios = biosFiles({ version, linux: readFileSync(made.linux), initrd: readFileSync(made.initrd), line: made.line, bootKey: made.keys.bootKey })
  const parts = [
    ['root', made.root.path], ['kernel.efi', made.uki],
    ...['linux', 'linux.sig', 'initrd', 'initrd.sig', 'boot.cfg', 'boot.cfg.sig'].map((name) => [name, bios[`xos/${version}/${name}`]]),
  ]
  const manifest = {
    flavour: flavour.name, version, uuid: made.root.uuid, hash: made.root.hash,
    parts: parts.map(([name, source]) => ({ name, bytes: Buffer.isBuffer(source) ? source.length : statSync(source).size, sha256: hashOf(source) })),
  }
  writeSigned(path, manifest, parts.map(([, source]) => source), readFileSync(made.keys.updateKey))
}

/** Head, manifest, signature, parts. @param {string} path @param {object} manifest @param {readonly (string | Buffer)[]} sources paths or bytes @param {Buffer | string} key PEM */
export function writeSigned(path, manifest, sources, key) {
  const text = Buffer.from(JSON.stringify(manifest))
  const head = Buffer.alloc(12)
  head.write(MAGIC, 'latin1')
  head.writeUInt32LE(text.length, 8)
  const signed = Buffer.concat([head, text])
  const fd = openSync(path, 'w')
  try {
    writeAll(fd, Buffer.concat([signed, sign(null, signed, createPrivateKey(key))]))
    for (const source of sources) for (const chunk of chunksOf(source)) writeAll(fd, chunk)
  } finally {
    closeSync(fd)
  }
}

function hashOf(source) {
  const hash = createHash('sha256')
  for (const chunk of chunksOf(source)) hash.update(chunk)
  return hash.digest('hex')
}

function* chunksOf(source) {
  if (Buffer.isBuffer(source)) return void (yield source)
  const fd = openSync(source, 'r')
  try {
    const buffer = Buffer.alloc(CHUNK_BYTES)
    for (let length; (length = readSync(fd, buffer)) > 0;) yield buffer.subarray(0, length)
  } finally {
    closeSync(fd)
  }
}

function writeAll(fd, data) {
  for (let done = 0; done < data.length;) done += writeSync(fd, data, done)
}


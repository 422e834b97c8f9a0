// As much of OpenPGP (RFC 4880) as GRUB checks: an RSA key and detached signatures over SHA-256, without a clock, so that they are the same each time.
import { createHash, createPrivateKey, sign } from 'node:crypto'

const VERSION = 4
const RSA = 1
const SHA256 = 8
const DOCUMENT = 0

/** Tag and length of a packet of up to 64 KiB (old format, two octets of length; section 4.2.1). */
const packet = (tag, body) => Buffer.concat([Buffer.from([0x80 | (tag << 2) | 1, body.length >> 8, body.length & 255]), body])

function mpi(bytes) {
  const start = bytes.findIndex((byte) => byte !== 0)
  const value = bytes.subarray(start)
  const bits = value.length * 8 - Math.clz32(value[0]) + 24
  return Buffer.concat([Buffer.from([bits >> 8, bits & 255]), value])
}

const u32 = (value) => { const bytes = Buffer.alloc(4); bytes.writeUInt32BE(value); return bytes }

/** The public key packet of an RSA key. @param {string | Buffer} pem its private key @param {number} epoch the key's date, part of its identity */
export function publicKeyPacket(pem, epoch) {
  return packet(6, keyBody(createPrivateKey(pem), epoch))
}

/** A detached signature of `data`. @param {Buffer} data @param {string | Buffer} pem @param {number} epoch the key's date */
export function detachedSignature(data, pem, epoch) {
  const key = createPrivateKey(pem)
  const body = keyBody(key, epoch)
  const keyId = createHash('sha1').update(Buffer.concat([Buffer.from([0x99, body.length >> 8, body.length & 255]), body])).digest().subarray(12)
  const hashed = Buffer.concat([Buffer.from([5, 2]), u32(epoch)]) // subpacket: when it was made
  const head = Buffer.concat([Buffer.from([VERSION, DOCUMENT, RSA, SHA256, 0, hashed.length]), hashed])
  const signed = Buffer.concat([data, head, Buffer.from([VERSION, 0xff]), u32(head.length)])
  const digest = createHash('sha256').update(signed).digest()
  const unhashed = Buffer.concat([Buffer.from([0, 10, 9, 16]), keyId]) // subpacket: by whom
  return packet(2, Buffer.concat([head, unhashed, digest.subarray(0, 2), mpi(sign('sha256', signed, key))]))
}

function keyBody(key, epoch) {
  const { n, e } = key.export({ format: 'jwk' })
  if (key.asymmetricKeyType !== 'rsa' || !n || !e) throw new TypeError('an RSA key is needed for the boot files')
  return Buffer.concat([Buffer.from([VERSION]), u32(epoch), Buffer.from([RSA]), mpi(Buffer.from(n, 'base64url')), mpi(Buffer.from(e, 'base64url'))])
}

import { X509Certificate } from 'node:crypto';
import { XosError } from '../core/errors.ts';
import { vo_extension_oid } from './credential.ts';
import { certificateExtensions, encodeOid, readTlv } from './der.ts';

// struct xos_cred_payload of kmod/xos_cred/uapi/xos_cred.h
const magic = 0x43534f58;
const version = 1;
const serial_bytes_max = 20;
const head_bytes = 48;
const day_s = 86_400;

/**
 * The credential (PEM, one of ours: it is not verified here) as the payload of a key of type xos_cred. An empty one takes away what the key has.
 * Throws XOS_CREDENTIAL when it is no credential.
 */
export function credentialPayload(pem: string, now_ms: number): Buffer {
  const head = Buffer.alloc(head_bytes);
  head.writeUInt32LE(magic, 0);
  head.writeUInt16LE(version, 4);
  if (pem === '') {
    head.writeBigInt64LE(BigInt(Math.floor(now_ms / 1000) + day_s), 16);
    return head;
  }
  const { serial, uid, expires_ms } = facts(pem);
  const credential = Buffer.from(pem);
  head.writeUInt16LE(serial.length, 6);
  head.writeUInt32LE(uid, 8);
  head.writeUInt32LE(credential.length, 12);
  head.writeBigInt64LE(BigInt(Math.floor(expires_ms / 1000)), 16);
  serial.copy(head, 24);
  return Buffer.concat([head, credential]);
}

function facts(pem: string): { readonly serial: Buffer; readonly uid: number; readonly expires_ms: number } {
  try {
    const certificate = new X509Certificate(pem);
    const extension = certificateExtensions(certificate.raw).get(encodeOid(vo_extension_oid).toString('hex'));
    const { uid } = JSON.parse(readTlv(extension!.value).value.toString('utf8')) as { uid: number };
    const serial = Buffer.from(certificate.serialNumber, 'hex');
    if (serial.length < 1 || serial.length > serial_bytes_max || !Number.isInteger(uid) || uid < 1) throw new RangeError('serial number or uid is out of range');
    return { serial, uid, expires_ms: Date.parse(certificate.validTo) };
  } catch (cause) {
    throw new XosError('XOS_CREDENTIAL', 'cannot put the credential into its key: it is malformed', {}, { cause });
  }
}

import { createPrivateKey, createPublicKey, generateKeyPair, sign, verify, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import { encodeOid, tag, writeTlv } from './der.ts';

const generate = promisify(generateKeyPair);

/** An Ed25519 key that signs; made off the event loop. */
export async function newKey(): Promise<KeyObject> {
  return (await generate('ed25519')).privateKey;
}

export const keyToPem = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }) as string;
export const keyFromPem = (pem: string): KeyObject => createPrivateKey(pem);
/** DER of the SubjectPublicKeyInfo. */
export const publicDer = (key: KeyObject): Buffer => createPublicKey(key.export({ type: 'pkcs8', format: 'pem' }) as string).export({ type: 'spki', format: 'der' });

export const signBytes = (key: KeyObject, bytes: Uint8Array): Buffer => sign(null, bytes, key);
export const verifyBytes = (key: KeyObject, bytes: Uint8Array, signature: Uint8Array): boolean => signature.length === 64 && verify(null, bytes, key, signature);

/**
 * A PKCS #10 request (RFC 2986) for `key`, with a common name that only helps a reader: the issuer decides every name itself.
 * Written here since it is thirty bytes of structure, while @peculiar/x509 costs every node 12 MB.
 */
export function certificateRequest(key: KeyObject, commonName: string): Buffer {
  const name = writeTlv(tag.sequence, writeTlv(tag.set, writeTlv(tag.sequence, writeTlv(tag.oid, encodeOid('2.5.4.3')), writeTlv(tag.utf8, Buffer.from(commonName)))));
  const info = writeTlv(tag.sequence, writeTlv(tag.integer, Buffer.from([0])), name, publicDer(key), writeTlv(0xa0));
  const ed25519 = writeTlv(tag.sequence, writeTlv(tag.oid, encodeOid('1.3.101.112')));
  return writeTlv(tag.sequence, info, ed25519, writeTlv(tag.bits, Buffer.from([0]), signBytes(key, info)));
}

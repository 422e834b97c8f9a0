import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, verify, type KeyObject } from 'node:crypto';
import { XosError } from '../core/errors.ts';
import { encodeOid, readChildren, readTlv, tag, writeTlv } from './der.ts';

/** AlgorithmIdentifier of keys and signatures (RFC 8410). */
export const ed25519 = writeTlv(tag.sequence, writeTlv(tag.oid, encodeOid('1.3.101.112')));

/** An Ed25519 key that signs. Made here: it takes 0.1 ms, and the way to another thread and back more. */
export const newKey = (): KeyObject => generateKeyPairSync('ed25519').privateKey;

export const keyToPem = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }) as string;
export const keyFromPem = (pem: string): KeyObject => createPrivateKey(pem);
/** DER of the SubjectPublicKeyInfo. */
export const publicDer = (key: KeyObject): Buffer => createPublicKey(key).export({ type: 'spki', format: 'der' });

export const signBytes = (key: KeyObject, bytes: Uint8Array): Buffer => sign(null, bytes, key);
export const verifyBytes = (key: KeyObject, bytes: Uint8Array, signature: Uint8Array): boolean => signature.length === 64 && verify(null, bytes, key, signature);

/**
 * A PKCS #10 request (RFC 2986) for `key`, with a common name that only helps a reader: the issuer decides every name itself.
 * Written here since it is thirty bytes of structure, while @peculiar/x509 costs every node 12 MB.
 */
export function certificateRequest(key: KeyObject, commonName: string): Buffer {
  const name = writeTlv(tag.sequence, writeTlv(tag.set, writeTlv(tag.sequence, writeTlv(tag.oid, encodeOid('2.5.4.3')), writeTlv(tag.utf8, Buffer.from(commonName)))));
  const info = writeTlv(tag.sequence, writeTlv(tag.integer, Buffer.from([0])), name, publicDer(key), writeTlv(0xa0));
  return writeTlv(tag.sequence, info, ed25519, writeTlv(tag.bits, Buffer.from([0]), signBytes(key, info)));
}

/** The key that a PKCS #10 request asks a certificate for, as DER of its SubjectPublicKeyInfo; throws XOS_BAD_REQUEST unless it is Ed25519 and signed by itself. */
export function keyOfRequest(csr: Uint8Array): Buffer {
  try {
    const request = readTlv(Buffer.from(csr));
    const [info, algorithm, signature, ...more] = readChildren(request.value);
    const key = readChildren(info?.value ?? Buffer.alloc(0))[2]?.whole;
    const formed = request.tag === tag.sequence && request.whole.length === csr.length && more.length === 0 && info?.tag === tag.sequence && signature?.tag === tag.bits && signature.value[0] === 0;
    if (!formed || key === undefined) throw new Error('it is no PKCS #10 request');
    const publicKey = createPublicKey({ key, format: 'der', type: 'spki' });
    if (publicKey.asymmetricKeyType !== 'ed25519' || !algorithm!.whole.equals(ed25519)) throw new Error('its key is not Ed25519');
    if (!verifyBytes(publicKey, info.whole, signature.value.subarray(1))) throw new Error('its signature is not by its key');
    return key;
  } catch (cause) {
    throw new XosError('XOS_BAD_REQUEST', `cannot take the certificate request: ${(cause as Error).message}`, {}, { cause });
  }
}

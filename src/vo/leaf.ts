import { X509Certificate, createHash, type KeyObject } from 'node:crypto';
import { userUri } from '../core/ids.ts';
import { limits } from '../core/limits.ts';
import { encodeClaims, vo_extension_oid, type UserClaims } from './credential.ts';
import { encodeOid, readChildren, readTlv, tag, writeTlv } from './der.ts';
import { ed25519, publicDer, signBytes } from './keys.ts';

/**
 * Writes the certificates of users (RFC 5280, RFC 8410), one at each login. @peculiar/x509, which writes all others (authority.ts), took 8 ms of
 * the event loop for one and made 2 MB of garbage: it reads what it has written, and parts of it several times. A test holds the two against each other.
 */
export interface Issuer {
  readonly key: KeyObject;
  /** PEM of the issuer's certificate. */
  readonly certificate: string;
}

export interface Entropy {
  bytes(count: number): Buffer;
}

/** A positive serial number of 127 bits. */
export function newSerial(random: Entropy): Buffer {
  const serial = random.bytes(16);
  serial[0] = (serial[0]! & 0x3f) | 0x40;
  return serial;
}

/** As certificates name their issuer: its subject and the identifier of its key. */
interface IssuerNames {
  readonly subject: Buffer;
  readonly key: Buffer;
}

const names = new WeakMap<Issuer, IssuerNames>();
/** Of TBSCertificate, where the version stands first. */
const subject_index = 5;

function namesOf(issuer: Issuer): IssuerNames {
  const [tbs] = readChildren(readTlv(new X509Certificate(issuer.certificate).raw).value);
  return { subject: readChildren(tbs!.value)[subject_index]!.whole, key: identifierOf(publicDer(issuer.key)) };
}

const sequence = (...values: readonly Uint8Array[]): Buffer => writeTlv(tag.sequence, ...values);
const oid = (dotted: string): Buffer => writeTlv(tag.oid, encodeOid(dotted));
const extension = (id: string, critical: boolean, value: Buffer): Buffer => sequence(oid(id), ...(critical ? [writeTlv(tag.boolean, Buffer.from([0xff]))] : []), writeTlv(tag.octets, value));

/** SHA-1 of the key's bits (RFC 5280, 4.2.1.2): a name, not a proof. */
const identifierOf = (spki: Buffer): Buffer => createHash('sha1').update(spki.subarray(-32)).digest();

function nameOf(parts: readonly (readonly [id: string, value: string])[]): Buffer {
  return sequence(...parts.map(([id, value]) => {
    const kind = /^[A-Za-z0-9 '()+,./:=?-]*$/.test(value) ? tag.printable : tag.utf8;
    return writeTlv(tag.set, sequence(oid(id), writeTlv(kind, Buffer.from(value))));
  }));
}

/** Whole seconds: that is what a certificate can say. From 2050 on years have four digits. */
function timeOf(ms: number): Buffer {
  const text = `${new Date(ms).toISOString().slice(0, 19).replace(/[-T:]/g, '')}Z`;
  return text < '2050' ? writeTlv(tag.utcTime, Buffer.from(text.slice(2))) : writeTlv(tag.generalizedTime, Buffer.from(text));
}

/**
 * A user's credential, as PEM. The critical VO extension makes every TLS stack that does not know it refuse the certificate: it is no key to
 * anything but the grid. `publicKey`: SubjectPublicKeyInfo of an Ed25519 key.
 */
export function writeCredential(order: { readonly claims: UserClaims; readonly publicKey: Buffer; readonly serial: Buffer; readonly now_ms: number; readonly expires_ms: number; readonly issuer: Issuer }): string {
  const { claims, publicKey, serial, now_ms, expires_ms, issuer } = order;
  const by = names.get(issuer) ?? namesOf(issuer);
  names.set(issuer, by);
  const certified = sequence(
    writeTlv(0xa0, writeTlv(tag.integer, Buffer.from([2]))),
    writeTlv(tag.integer, serial),
    ed25519,
    by.subject,
    sequence(timeOf(now_ms - limits.backdate_ms), timeOf(expires_ms)),
    nameOf([['2.5.4.10', claims.vo], ['2.5.4.3', claims.user]]),
    publicKey,
    writeTlv(0xa3, sequence(
      extension('2.5.29.19', true, sequence()),  // no authority
      extension('2.5.29.15', true, writeTlv(tag.bits, Buffer.from([7, 0x80]))),  // digitalSignature
      extension('2.5.29.17', false, sequence(writeTlv(0x86, Buffer.from(userUri(claims.vo, claims.user))))),
      extension(vo_extension_oid, true, encodeClaims(claims)),
      extension('2.5.29.14', false, writeTlv(tag.octets, identifierOf(publicKey))),
      extension('2.5.29.35', false, sequence(writeTlv(0x80, by.key))),
    )),
  );
  const whole = sequence(certified, ed25519, writeTlv(tag.bits, Buffer.from([0]), signBytes(issuer.key, certified)));
  return `-----BEGIN CERTIFICATE-----\n${whole.toString('base64').replace(/.{64}(?!$)/g, '$&\n')}\n-----END CERTIFICATE-----\n`;
}

import { X509Certificate, type KeyObject } from 'node:crypto';
import { XosError } from '../core/errors.ts';
import { parseRole, parseSessionId, parseUri, parseUserName, parseVoName, userUri } from '../core/ids.ts';
import { limits } from '../core/limits.ts';
import { checkUid } from '../account/uid.ts';
import { certificateExtensions, encodeOid, readTlv, tag, writeTlv } from './der.ts';

/**
 * Of the critical VO extension. Below the enterprise number that RFC 5612 keeps for documents, until the project has one of its own
 * (an OID of the UUID arc would need none, but asn1js 3 of @peculiar/x509 cuts arcs above 2^53 off).
 */
export const vo_extension_oid = '1.3.6.1.4.1.32473.7.1';

/** What the CDA says about a user in the VO extension: JSON in a UTF8String. */
export interface UserClaims {
  readonly vo: string;
  /** Of the VO; bounds the uid. */
  readonly number: number;
  readonly user: string;
  readonly uid: number;
  readonly groups: readonly number[];
  readonly roles: readonly string[];
  readonly session: string;
}

export interface Credential {
  readonly claims: UserClaims;
  readonly publicKey: KeyObject;
  readonly serial: string;
  readonly not_before_ms: number;
  readonly expires_ms: number;
}

export const encodeClaims = (claims: UserClaims): Buffer => {
  const { vo, number, user, uid, groups, roles, session } = claims;
  return writeTlv(tag.utf8, Buffer.from(JSON.stringify({ vo, number, user, uid, groups, roles, session })));
};

let lastIssuer: { readonly pem: string; readonly certificate: X509Certificate } | null = null;

/** Of a node's own VO nearly always: read once. */
function issuerOf(pem: string): X509Certificate {
  if (lastIssuer?.pem !== pem) lastIssuer = { pem, certificate: new X509Certificate(pem) };
  return lastIssuer.certificate;
}

const refused = (why: string, cause?: unknown): XosError => new XosError('XOS_CREDENTIAL', `cannot accept the credential: ${why}`, {}, { cause });

/**
 * Reads a credential and verifies it against the VO's user CA: issuer, signature, times, names, and that everything in the VO extension
 * is well-formed and inside the VO's uid range. Revocation is the caller's to check. Throws XOS_CREDENTIAL (forged, malformed, of
 * another VO), XOS_CREDENTIAL_EXPIRED, XOS_CLOCK_OFF (not valid yet: some clock is wrong).
 */
export function verifyCredential(pem: string, trust: { readonly vo: string; readonly number: number; readonly user_ca: string }, now_ms: number): Credential {
  if (pem.length > 16_384) throw refused('it is too long');
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(pem);
  } catch (cause) {
    throw refused('it is not a certificate', cause);
  }
  const issuer = issuerOf(trust.user_ca);
  if (!certificate.checkIssued(issuer) || !certificate.verify(issuer.publicKey)) throw refused(`it was not issued by the CDA of VO '${trust.vo}'`);
  if (certificate.publicKey.asymmetricKeyType !== 'ed25519') throw refused('its key is not Ed25519');
  const claims = claimsOf(certificate, trust);
  const not_before_ms = Date.parse(certificate.validFrom);
  const expires_ms = Date.parse(certificate.validTo);
  if (now_ms >= expires_ms) throw new XosError('XOS_CREDENTIAL_EXPIRED', `credential of '${claims.user}@${claims.vo}' expired ${new Date(expires_ms).toISOString()}; log in again`, { user: claims.user, expires_ms });
  if (now_ms < not_before_ms) {
    throw new XosError('XOS_CLOCK_OFF', `credential of '${claims.user}@${claims.vo}' is valid from ${new Date(not_before_ms).toISOString()}, later than this node's clock; set the clock`, { user: claims.user, not_before_ms });
  }
  return { claims, publicKey: certificate.publicKey, serial: certificate.serialNumber.toLowerCase(), not_before_ms, expires_ms };
}

function claimsOf(certificate: X509Certificate, trust: { readonly vo: string; readonly number: number }): UserClaims {
  let claims: UserClaims;
  try {
    const extension = certificateExtensions(certificate.raw).get(encodeOid(vo_extension_oid).toString('hex'));
    if (extension === undefined || !extension.critical) throw refused('the critical VO extension is missing');
    const text = readTlv(extension.value);
    if (text.tag !== tag.utf8 || text.whole.length !== extension.value.length) throw refused('the VO extension is not a string');
    claims = checkClaims(JSON.parse(text.value.toString('utf8')));
  } catch (cause) {
    throw cause instanceof XosError && cause.code === 'XOS_CREDENTIAL' ? cause : refused('the VO extension is malformed', cause);
  }
  if (claims.vo !== trust.vo || claims.number !== trust.number) throw refused(`it is of VO '${claims.vo}', not '${trust.vo}'`);
  const names = (certificate.subjectAltName ?? '').split(', ');
  const uri = parseUri(names[0]?.replace(/^URI:/, '') ?? '');
  if (names.length !== 1 || uri === null || userUri(claims.vo, claims.user) !== `xos://${uri.vo}/${uri.kind}/${uri.name}`) throw refused('its name and its VO extension differ');
  return claims;
}

function checkClaims(value: unknown): UserClaims {
  const claims = value as UserClaims;
  const number = Number(claims.number);
  if (!Number.isInteger(number) || number < 1 || number > limits.vo_number_max) throw refused('its VO number is out of range');
  if (!Array.isArray(claims.groups) || claims.groups.length > 64 || !Array.isArray(claims.roles) || claims.roles.length > 64) throw refused('its groups or roles are no short lists');
  return {
    vo: parseVoName(claims.vo),
    number,
    user: parseUserName(claims.user),
    uid: checkUid(number, claims.uid),
    groups: claims.groups.map((group) => checkUid(number, group, { group: true })),
    roles: claims.roles.map(parseRole),
    session: parseSessionId(claims.session),
  };
}

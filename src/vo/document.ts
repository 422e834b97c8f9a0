import { X509Certificate, type KeyObject } from 'node:crypto';
import { XosError } from '../core/errors.ts';
import type { MemberFacts, NodeRecord } from '../core/model.ts';
import type { LoginPolicy } from './login-policy.ts';
import { signBytes, verifyBytes } from './keys.ts';

/**
 * The facts of a VO that every node holds and verifies by itself: signed, versioned, expiring. Who is a member and which nodes take part
 * (membership), and what was taken back (revocation). JSON in an envelope {payload, signature}; the signature covers the bytes of the
 * payload, so nothing depends on how JSON is written.
 */
export interface MembershipDocument {
  readonly kind: 'membership';
  readonly vo: string;
  readonly number: number;
  readonly version: number;
  readonly issued_ms: number;
  readonly expires_ms: number;
  readonly registry: string;
  /** What the VO wants for its jobs on every node (src/isolation/policy.ts); absent: nothing. */
  readonly isolation?: Readonly<Record<string, string>>;
  /** Absent in documents of an older registry. */
  readonly login?: LoginPolicy;
  readonly members: readonly DocumentMember[];
  readonly nodes: readonly DocumentNode[];
}

export interface DocumentMember extends MemberFacts {
  /** An admin unlocked the member then: failures of before do not count. */
  readonly unlocked_ms?: number;
}

export type DocumentNode = NodeRecord;

export interface RevocationDocument {
  readonly kind: 'revocation';
  readonly vo: string;
  readonly number: number;
  readonly version: number;
  readonly issued_ms: number;
  readonly expires_ms: number;
  /** Credentials of these uids that were issued before `since_ms` are void. */
  readonly users: readonly { readonly uid: number; readonly user: string; readonly since_ms: number; readonly reason: string }[];
  /** Serial numbers (hexadecimal) of node certificates that are void. */
  readonly nodes: readonly { readonly node: string; readonly serial: string; readonly since_ms: number }[];
}

export type VoDocument = MembershipDocument | RevocationDocument;

const prefix = Buffer.from('xos-document-v1\n');

export function signDocument(document: VoDocument, key: KeyObject): Buffer {
  const payload = Buffer.from(JSON.stringify(document));
  const signature = signBytes(key, Buffer.concat([prefix, payload]));
  return Buffer.from(JSON.stringify({ payload: payload.toString('base64'), signature: signature.toString('base64') }));
}

const bad = (why: string, cause?: unknown): XosError => new XosError('XOS_DOCUMENT', `cannot accept the VO's document: ${why}`, {}, { cause });

/**
 * The document in an envelope, if the VO's registry signed it and it is of the kind and not older than `version`. Throws XOS_DOCUMENT.
 * An expired one is returned: what that means is its user's to decide (`documentAge`).
 */
export function verifyDocument<K extends VoDocument['kind']>(
  envelope: Uint8Array,
  kind: K,
  trust: { readonly vo: string; readonly number: number; readonly registry: string },
  version: number,
): Extract<VoDocument, { kind: K }> {
  let payload: Buffer;
  let signature: Buffer;
  let document: VoDocument;
  try {
    const parsed = JSON.parse(Buffer.from(envelope).toString('utf8')) as { payload: string; signature: string };
    payload = Buffer.from(parsed.payload, 'base64');
    signature = Buffer.from(parsed.signature, 'base64');
    if (!verifyBytes(new X509Certificate(trust.registry).publicKey, Buffer.concat([prefix, payload]), signature)) throw bad(`it is not signed by the registry of VO '${trust.vo}'`);
    document = JSON.parse(payload.toString('utf8')) as VoDocument;
  } catch (cause) {
    throw cause instanceof XosError ? cause : bad('it is malformed', cause);
  }
  if (document.kind !== kind) throw bad(`it is a '${document.kind}' document where '${kind}' was expected`);
  if (document.vo !== trust.vo || document.number !== trust.number) throw bad(`it is of VO '${document.vo}'`);
  if (document.version < version) throw bad(`its version ${document.version} is older than ${version}, which this node holds`);
  return document as Extract<VoDocument, { kind: K }>;
}

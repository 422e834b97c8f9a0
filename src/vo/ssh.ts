import { createHash, createPublicKey, type KeyObject } from 'node:crypto';
import { X509Certificate } from 'node:crypto';
import { XosError } from '../core/errors.ts';
import { userUri } from '../core/ids.ts';
import { publicDer, signBytes, verifyBytes } from './keys.ts';

/**
 * OpenSSH certificates (PROTOCOL.certkeys of OpenSSH) for Ed25519. Written and read here and not by ssh-keygen(1), because a login must
 * not wait for a process and the CA's key must not go into a file for it: the form is fourteen fields. The user CA of the VO signs those
 * of users, its node CA those of hosts: every node has both keys in its trust already.
 */
export const ssh_certificate_type = 'ssh-ed25519-cert-v01@openssh.com';
const key_type = 'ssh-ed25519';
/** Holds `session node`: what a user's certificate belongs to, and where its key is. Not critical: sshd passes over it. */
const session_extension = 'session@xtreemos';

export type SshKind = 'user' | 'host';
const kinds: Readonly<Record<SshKind, number>> = { user: 1, host: 2 };

export interface SshCertificate {
  readonly kind: SshKind;
  readonly publicKey: KeyObject;
  readonly serial: bigint;
  readonly key_id: string;
  readonly principals: readonly string[];
  readonly valid_after_ms: number;
  readonly valid_before_ms: number;
  /** `session node`; null in a host's. */
  readonly session: string | null;
}

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};
const u64 = (value: bigint): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(value);
  return bytes;
};
/** SSH's string: length and bytes. */
export const sshString = (value: string | Uint8Array): Buffer => {
  const bytes = Buffer.from(value as string);
  return Buffer.concat([u32(bytes.length), bytes]);
};
const rawKey = (der: Buffer): Buffer => der.subarray(-32); // SubjectPublicKeyInfo of Ed25519 ends with the key (RFC 8410)
const fromRaw = (raw: Buffer): KeyObject => createPublicKey({ key: Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), raw]), format: 'der', type: 'spki' });

/** The blob of a plain public key. */
export const sshKeyBlob = (spki: Buffer): Buffer => Buffer.concat([sshString(key_type), sshString(rawKey(spki))]);
export const sshSignature = (key: KeyObject, bytes: Uint8Array): Buffer => Buffer.concat([sshString(key_type), sshString(signBytes(key, bytes))]);
/** A line of authorized_keys(5) form. */
export const sshLine = (blob: Buffer, comment: string): string => `${blob.subarray(4, 4 + blob.readUInt32BE(0)).toString('latin1')} ${blob.toString('base64')} ${comment}`;
export const sshFingerprint = (blob: Buffer): string => `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')}`;
/** The key of a certificate authority, from its X.509 certificate. */
export const sshAuthorityBlob = (pem: string): Buffer => sshKeyBlob(new X509Certificate(pem).publicKey.export({ type: 'spki', format: 'der' }));

/** What revocation lists name: it stays the same in all certificates of a member, and differs when a name is given again. */
export const sshUserKeyId = (vo: string, user: string, uid: number): string => `${userUri(vo, user)}/${uid}`;

export interface SshOrder {
  readonly kind: SshKind;
  /** SubjectPublicKeyInfo in DER, or the 32 bytes alone. */
  readonly publicKey: Buffer;
  readonly serial: Uint8Array;
  readonly nonce: Uint8Array;
  readonly key_id: string;
  readonly principals: readonly string[];
  readonly not_before_ms: number;
  readonly expires_ms: number;
  readonly session: string | null;
  readonly authority: KeyObject;
}

/** A certificate's blob. At least one principal: without any it would be good for everybody. */
export function issueSshCertificate(order: SshOrder): Buffer {
  if (order.principals.length === 0) throw new XosError('XOS_INTERNAL', 'an ssh certificate without a principal would be good for everybody');
  const options = order.kind === 'host' ? [] : [
    ...['permit-agent-forwarding', 'permit-port-forwarding', 'permit-pty'].map((name) => [name, ''] as const),
    ...(order.session === null ? [] : [[session_extension, sshString(order.session)] as const]),
  ];
  const body = Buffer.concat([
    sshString(ssh_certificate_type), sshString(order.nonce), sshString(rawKey(order.publicKey)), u64(Buffer.from(order.serial).readBigUInt64BE(0)), u32(kinds[order.kind]),
    sshString(order.key_id), sshString(Buffer.concat(order.principals.map(sshString))),
    u64(BigInt(Math.floor(order.not_before_ms / 1000))), u64(BigInt(Math.floor(order.expires_ms / 1000))),
    sshString(''), sshString(Buffer.concat(options.map(([name, value]) => Buffer.concat([sshString(name), sshString(value)])))), sshString(''),
    sshString(sshKeyBlob(publicDer(order.authority))),
  ]);
  return Buffer.concat([body, sshString(sshSignature(order.authority, body))]);
}

/** Reads the fields of SSH's wire form one by one; throws XOS_SSH when they end too soon. */
export class SshReader {
  readonly bytes: Buffer;
  at = 0;
  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }
  #take(count: number): Buffer {
    if (count > this.bytes.length - this.at) throw badSsh('it ends too soon');
    this.at += count;
    return this.bytes.subarray(this.at - count, this.at);
  }
  byte = (): number => this.#take(1)[0]!;
  u32 = (): number => this.#take(4).readUInt32BE(0);
  u64 = (): bigint => this.#take(8).readBigUInt64BE(0);
  string = (): Buffer => this.#take(this.u32());
  text = (): string => this.string().toString('utf8');
  get done(): boolean {
    return this.at === this.bytes.length;
  }
}

export const badSsh = (why: string): XosError => new XosError('XOS_SSH', `cannot accept the ssh certificate: ${why}`);

/**
 * Reads a certificate and verifies who signed it, kind, times and that it names `principal`. Throws XOS_SSH, XOS_CREDENTIAL_EXPIRED,
 * XOS_CLOCK_OFF. Revocation is the caller's to check.
 */
export function verifySshCertificate(blob: Buffer, expected: { readonly kind: SshKind; readonly authority: Buffer; readonly principal: string }, now_ms: number): SshCertificate {
  if (blob.length > 8_192) throw badSsh('it is too long');
  const read = new SshReader(blob);
  if (read.text() !== ssh_certificate_type) throw badSsh('it is no Ed25519 certificate');
  read.string(); // nonce
  const raw = read.string();
  const [serial, kind, key_id] = [read.u64(), read.u32(), read.text()];
  const principals = all(read.string());
  const [after, before] = [read.u64(), read.u64()];
  const critical = read.string();
  const extensions = all(read.string());
  read.string(); // reserved
  const authority = read.string();
  const body = blob.subarray(0, read.at);
  const signature = new SshReader(read.string());
  if (!read.done || raw.length !== 32) throw badSsh('it is malformed');
  if (!authority.equals(expected.authority)) throw badSsh('it was not issued by this VO');
  if (signature.text() !== key_type || !verifyBytes(fromRaw(authority.subarray(-32)), body, signature.string()) || !signature.done) throw badSsh('its signature is not that of the VO');
  if (kind !== kinds[expected.kind]) throw badSsh(`it is not one of a ${expected.kind}`);
  if (critical.length > 0) throw badSsh('it has critical options that are not known here');
  if (!principals.includes(expected.principal)) throw badSsh(`it does not name '${expected.principal}'`);
  const [valid_after_ms, valid_before_ms] = [Number(after) * 1000, Number(before) * 1000];
  if (now_ms >= valid_before_ms) throw new XosError('XOS_CREDENTIAL_EXPIRED', `the ssh certificate of '${expected.principal}' expired ${new Date(valid_before_ms).toISOString()}; log in again`);
  if (now_ms < valid_after_ms) throw new XosError('XOS_CLOCK_OFF', `the ssh certificate of '${expected.principal}' is valid from ${new Date(valid_after_ms).toISOString()}, later than this node's clock; set the clock`);
  const at = extensions.findIndex((name, index) => index % 2 === 0 && name === session_extension);
  const session = at < 0 ? null : new SshReader(Buffer.from(extensions[at + 1]!, 'latin1')).text();
  return { kind: expected.kind, publicKey: fromRaw(raw), serial, key_id, principals, valid_after_ms, valid_before_ms, session };
}

function all(bytes: Buffer): readonly string[] {
  const read = new SshReader(bytes);
  const found: string[] = [];
  while (!read.done) found.push(read.string().toString('latin1'));
  return found;
}

import { X509Certificate, type KeyObject } from 'node:crypto';
import { XosError, describe } from '../core/errors.ts';
import type { Disk } from '../core/ports.ts';
import { certificateRequest, keyFromPem, keyToPem, newKey, publicDer } from './keys.ts';
import { chainOf, fingerprint, verifyTrust, type Trust } from './trust.ts';

/**
 * What a node is, on disk: key.pem, cert.pem and ca.pem for every native daemon, trust.json for xosd, user-ca.pem for the PAM module.
 * A renewed certificate keeps its key, so that one rename replaces it and no reader ever sees a pair that does not fit.
 */
export interface StoredIdentity {
  readonly node: string;
  readonly key: KeyObject;
  readonly certificate: string;
  readonly expires_ms: number;
  readonly issued_ms: number;
  readonly trust: Trust;
}

export class IdentityStore {
  readonly #disk: Disk;
  readonly #directory: string;

  /** `directory`: /var/lib/xos/node. */
  constructor(disk: Disk, directory: string) {
    this.#disk = disk;
    this.#directory = directory;
  }

  /** null when the node has none yet. Throws XOS_IDENTITY when what is there does not fit together. */
  async load(): Promise<StoredIdentity | null> {
    const [key, certificate, trust] = await Promise.all(['key.pem', 'cert.pem', 'trust.json'].map((name) => this.#disk.read(`${this.#directory}/${name}`)));
    if (key == null || certificate == null || trust == null) return null;
    try {
      const read = JSON.parse(trust.toString('utf8')) as Trust;
      return checkIdentity(keyFromPem(key.toString('utf8')), certificate.toString('utf8'), verifyTrust(read, fingerprint(read.root)));
    } catch (cause) {
      throw new XosError('XOS_IDENTITY', `the identity of this node in '${this.#directory}' cannot be used: ${describe(cause)}; move it away and let the node join again`, {}, { cause });
    }
  }

  /** The key that this node joins with: made at the first call, kept, so that a lost answer can be asked for again. */
  async joiningKey(): Promise<KeyObject> {
    const kept = await this.#disk.read(`${this.#directory}/key.pem`);
    if (kept !== null) return keyFromPem(kept.toString('utf8'));
    const key = newKey();
    await this.#disk.makeDirectory(this.#directory, 0o700);
    await this.#disk.writeAtomic(`${this.#directory}/key.pem`, keyToPem(key));
    return key;
  }

  /** Stores everything; trust.json last, since `load` takes its presence for the whole. */
  async store(key: KeyObject, certificate: string, trust: Trust): Promise<StoredIdentity> {
    const identity = checkIdentity(key, certificate, trust);
    await this.#disk.makeDirectory(this.#directory, 0o700);
    await this.#disk.writeAtomic(`${this.#directory}/key.pem`, keyToPem(key));
    await this.#disk.writeAtomic(`${this.#directory}/ca.pem`, trust.node_ca, { mode: 0o644 });
    await this.#disk.writeAtomic(`${this.#directory}/user-ca.pem`, trust.user_ca, { mode: 0o644 });
    await this.#disk.writeAtomic(`${this.#directory}/cert.pem`, certificate, { mode: 0o644 });
    await this.#disk.writeAtomic(`${this.#directory}/trust.json`, JSON.stringify(trust), { mode: 0o644 });
    return identity;
  }
}

/** Throws XOS_IDENTITY unless the certificate is the key's and the VO's node CA issued it. */
export function checkIdentity(key: KeyObject, certificate: string, trust: Trust): StoredIdentity {
  const read = new X509Certificate(certificate);
  const issuer = new X509Certificate(trust.node_ca);
  const name = /(?:^|\n)CN=([^\n]+)/.exec(read.subject)?.[1];
  if (!read.checkPrivateKey(key)) throw new XosError('XOS_IDENTITY', 'the certificate is not that of the key');
  if (!read.checkIssued(issuer) || !read.verify(issuer.publicKey)) throw new XosError('XOS_IDENTITY', `the certificate was not issued by VO '${trust.vo}'`);
  if (name === undefined) throw new XosError('XOS_IDENTITY', 'the certificate names no node');
  return { node: name, key, certificate, expires_ms: Date.parse(read.validTo), issued_ms: Date.parse(read.validFrom), trust };
}

/** What the RPC layer needs of an identity. */
export const tlsIdentity = (identity: StoredIdentity): { vo: string; node: string; key: string; chain: string; ca: string } => ({
  vo: identity.trust.vo,
  node: identity.node,
  key: keyToPem(identity.key),
  chain: identity.certificate + chainOf(identity.trust),
  ca: identity.trust.node_ca,
});

export const requestFor = (key: KeyObject, node: string): Buffer => certificateRequest(key, node);
export { publicDer };

import { X509Certificate, createHash, verify } from 'node:crypto';
import { nodeUri } from '../../core/ids.ts';
import type { DecodedDescriptor, Verifier } from './descriptor.ts';

export interface VerifierOptions {
  readonly vo: string;
  /** The VO's node CA (PEM). */
  readonly node_ca: string;
  /** False for a node that was revoked, or is not in the membership document; `serial` is the certificate's, lower-case hexadecimal. */
  readonly admitted: (node: string, serial: string) => boolean;
  readonly now_ms: () => number;
}

const cache_max = 4096;

/** Believes a descriptor that is signed by the key of a certificate that the VO's node CA issued to that very node. */
export class CertificateVerifier implements Verifier {
  readonly #options: VerifierOptions;
  readonly #ca: X509Certificate;
  /** Certificates that were verified, by their hash, oldest first. */
  readonly #cache = new Map<string, X509Certificate>();

  constructor(options: VerifierOptions) {
    this.#options = options;
    this.#ca = new X509Certificate(options.node_ca);
  }

  verify({ descriptor, signed, signature }: DecodedDescriptor): null | 'forged' | 'not_admitted' | 'expired' {
    if (!descriptor.vos.includes(this.#options.vo)) return 'not_admitted';
    const certificate = this.#certificate(descriptor.certificate);
    if (certificate === null) return 'forged';
    const names = (certificate.subjectAltName ?? '').split(', ');
    if (!names.includes(`URI:${nodeUri(this.#options.vo, descriptor.node)}`)) return 'forged';
    const now_ms = this.#options.now_ms();
    if (Date.parse(certificate.validTo) < now_ms || Date.parse(certificate.validFrom) > now_ms + 60_000) return 'expired';
    if (certificate.publicKey.asymmetricKeyType !== 'ed25519' || !verify(null, signed, certificate.publicKey, signature)) return 'forged';
    return this.#options.admitted(descriptor.node, certificate.serialNumber.toLowerCase()) ? null : 'not_admitted';
  }

  /** null when it is not the CA's. */
  #certificate(der: Uint8Array): X509Certificate | null {
    const hash = createHash('sha256').update(der).digest('base64');
    const known = this.#cache.get(hash);
    if (known !== undefined) return known;
    try {
      const certificate = new X509Certificate(Buffer.from(der));
      if (!certificate.checkIssued(this.#ca) || !certificate.verify(this.#ca.publicKey)) return null;
      if (this.#cache.size >= cache_max) this.#cache.delete(this.#cache.keys().next().value!);
      this.#cache.set(hash, certificate);
      return certificate;
    } catch {
      // Not even DER: as good as forged.
      return null;
    }
  }
}

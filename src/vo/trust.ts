import { X509Certificate } from 'node:crypto';
import { XosError } from '../core/errors.ts';
import { parseNodeId, parseUri, parseVoName } from '../core/ids.ts';
import { limits } from '../core/limits.ts';

/** Whom a node of a VO believes: everything follows from the root, whose fingerprint it got by its join token (or made itself). PEM. */
export interface Trust {
  readonly vo: string;
  readonly number: number;
  readonly root: string;
  readonly user_ca: string;
  readonly node_ca: string;
  readonly node_ca_cross: string;
  readonly registry: string;
  /** Where the registry was when the node joined; the membership document tells when it moves. */
  readonly registry_node: string;
  readonly registry_address: string;
  readonly registry_port: number;
  readonly founded_ms: number;
}

/** SHA-256 of a certificate's DER, lower-case hexadecimal. */
export const fingerprint = (pem: string): string => new X509Certificate(pem).fingerprint256.replaceAll(':', '').toLowerCase();

const bad = (why: string, cause?: unknown): XosError => new XosError('XOS_TRUST', `cannot trust the VO's certificates: ${why}`, {}, { cause });

/** Checks that everything hangs together and hangs on the root with the fingerprint `pin`; throws XOS_TRUST. */
export function verifyTrust(value: unknown, pin: string): Trust {
  const trust = value as Trust;
  try {
    parseVoName(trust.vo);
    parseNodeId(trust.registry_node);
    if (!Number.isInteger(trust.number) || trust.number < 1 || trust.number > limits.vo_number_max) throw bad('the VO number is out of range');
    const root = new X509Certificate(trust.root);
    if (fingerprint(trust.root) !== pin) throw bad(`the root's fingerprint is ${fingerprint(trust.root)}, not ${pin}: this is another VO, or somebody stands between`);
    if (!root.ca || !root.verify(root.publicKey)) throw bad('the root is not signed by itself');
    for (const name of ['user_ca', 'node_ca_cross', 'registry'] as const) {
      const certificate = new X509Certificate(trust[name]);
      if (!certificate.checkIssued(root) || !certificate.verify(root.publicKey)) throw bad(`'${name}' is not signed by the root`);
      if (certificate.ca !== (name !== 'registry')) throw bad(`'${name}' has the wrong basic constraints`);
    }
    const anchor = new X509Certificate(trust.node_ca);
    const cross = new X509Certificate(trust.node_ca_cross);
    if (!anchor.ca || anchor.subject !== cross.subject || !anchor.publicKey.equals(cross.publicKey) || !anchor.verify(cross.publicKey)) throw bad('the two certificates of the node CA differ');
    const uri = parseUri(new X509Certificate(trust.registry).subjectAltName?.replace(/^URI:/, '') ?? '');
    if (uri?.kind !== 'registry' || uri.vo !== trust.vo) throw bad('the registry is that of another VO');
    return trust;
  } catch (cause) {
    throw cause instanceof XosError && cause.code === 'XOS_TRUST' ? cause : bad('they are malformed', cause);
  }
}

/** What a node shows in TLS after its own certificate. */
export const chainOf = (trust: Trust): string => trust.node_ca_cross + trust.root;

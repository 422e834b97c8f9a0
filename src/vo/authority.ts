import 'reflect-metadata';
import * as x509 from '@peculiar/x509';
import { webcrypto, type KeyObject } from 'node:crypto';
import { nodeHost, nodeUri, registryUri } from '../core/ids.ts';
import { limits } from '../core/limits.ts';
import { keyToPem, newKey, publicDer } from './keys.ts';
import { newSerial, type Entropy, type Issuer } from './leaf.ts';

/**
 * Issues the certificates of authorities and nodes; those of users are leaf.ts's. Only the registry's node loads this module (and with it
 * @peculiar/x509). Reading and verifying is in credential.ts, trust.ts and node:crypto.
 */
const algorithm = { name: 'Ed25519' } as const;

interface Order {
  readonly subject: string;
  readonly publicKey: Buffer;
  readonly not_before_ms: number;
  readonly not_after_ms: number;
  readonly serial: Buffer;
  readonly extensions: readonly x509.Extension[];
  /** null: the certificate is signed by its own key. */
  readonly issuer: Issuer | null;
  readonly key?: KeyObject;
}

interface Signer {
  readonly key: webcrypto.CryptoKey;
  /** Name of the issuer; null for a certificate that its own key signs. */
  readonly name: string | null;
  readonly identifier: x509.Extension;
}

/** What is made of an issuer once: that took a third of the time of issuing. */
const signers = new WeakMap<Issuer, Promise<Signer>>();

async function signerOf(key: KeyObject, certificate: string | null): Promise<Signer> {
  const publicKey = await webcrypto.subtle.importKey('spki', publicDer(key), algorithm, true, ['verify']);
  return {
    key: await webcrypto.subtle.importKey('pkcs8', key.export({ type: 'pkcs8', format: 'der' }), algorithm, false, ['sign']),
    name: certificate === null ? null : new x509.X509Certificate(certificate).subject,
    identifier: await x509.AuthorityKeyIdentifierExtension.create(publicKey),
  };
}

function signerFor({ issuer, key }: Order): Promise<Signer> {
  if (issuer === null) return signerOf(key!, null);
  const made = signers.get(issuer) ?? signerOf(issuer.key, issuer.certificate);
  signers.set(issuer, made);
  return made;
}

async function issue(order: Order): Promise<string> {
  const signer = await signerFor(order);
  const publicKey = await webcrypto.subtle.importKey('spki', order.publicKey, algorithm, true, ['verify']);
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: order.serial.toString('hex'),
    subject: order.subject,
    issuer: signer.name ?? order.subject,
    // Whole seconds: that is what a certificate can say.
    notBefore: new Date(Math.floor(order.not_before_ms / 1_000) * 1_000),
    notAfter: new Date(Math.floor(order.not_after_ms / 1_000) * 1_000),
    publicKey,
    signingKey: signer.key,
    signingAlgorithm: algorithm,
    extensions: [
      ...order.extensions,
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
      signer.identifier,
    ],
  });
  return `${certificate.toString('pem')}\n`;
}

/** The keys and certificates of a new VO. `root_key` is for a file that is moved away; the others stay with the registry. */
export interface Founding {
  readonly root: string;
  readonly root_key: string;
  readonly user_ca: string;
  readonly user_ca_key: string;
  /** The node CA as trust anchor: signed by itself, since a TLS stack takes an anchor that another key signed only on request. */
  readonly node_ca: string;
  /** The same key and name, signed by the root: what a joining node follows to the pin of its token. */
  readonly node_ca_cross: string;
  readonly node_ca_key: string;
  /** Signer of membership and revocation documents. */
  readonly registry: string;
  readonly registry_key: string;
}

export async function foundAuthorities(vo: string, now_ms: number, random: Entropy): Promise<Founding> {
  const [root_key, user_ca_key, node_ca_key, registry_key] = [newKey(), newKey(), newKey(), newKey()];
  const span = { not_before_ms: now_ms - limits.backdate_ms, not_after_ms: now_ms + limits.authority_ms };
  const authority = (key: KeyObject, name: string, issuer: Issuer | null, pathLength: number): Promise<string> =>
    issue({
      subject: `O=${vo}, CN=${name}`,
      publicKey: publicDer(key),
      ...span,
      serial: newSerial(random),
      issuer,
      key,
      extensions: [
        new x509.BasicConstraintsExtension(true, pathLength, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      ],
    });
  const root = await authority(root_key, `${vo} root`, null, 1);
  const by_root = { key: root_key, certificate: root };
  const registry = await issue({
    subject: `O=${vo}, CN=${vo} registry`,
    publicKey: publicDer(registry_key),
    ...span,
    serial: newSerial(random),
    issuer: by_root,
    extensions: [
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.SubjectAlternativeNameExtension([{ type: 'url', value: registryUri(vo) }]),
    ],
  });
  return {
    root,
    root_key: keyToPem(root_key),
    user_ca: await authority(user_ca_key, `${vo} users`, by_root, 0),
    user_ca_key: keyToPem(user_ca_key),
    node_ca: await authority(node_ca_key, `${vo} nodes`, null, 0),
    node_ca_cross: await authority(node_ca_key, `${vo} nodes`, by_root, 0),
    node_ca_key: keyToPem(node_ca_key),
    registry,
    registry_key: keyToPem(registry_key),
  };
}

/** A node's certificate: server and client, found by name and by URI. */
export function issueNodeCertificate(order: { vo: string; node: string; publicKey: Buffer; serial: Buffer; now_ms: number; expires_ms: number; issuer: Issuer }): Promise<string> {
  return issue({
    subject: `O=${order.vo}, CN=${order.node}`,
    publicKey: order.publicKey,
    not_before_ms: order.now_ms - limits.backdate_ms,
    not_after_ms: order.expires_ms,
    serial: order.serial,
    issuer: order.issuer,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
      new x509.SubjectAlternativeNameExtension([
        { type: 'url', value: nodeUri(order.vo, order.node) },
        { type: 'dns', value: nodeHost(order.vo, order.node) },
        { type: 'dns', value: 'xos-node' },
      ]),
    ],
  });
}

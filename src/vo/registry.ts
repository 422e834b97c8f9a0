import type { KeyObject } from 'node:crypto';
import { XosError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import type { NodeRole } from '../core/model.ts';
import type { Clock, Disk, Log, Random } from '../core/ports.ts';
import type { PeerIdentity } from '../core/rpc.ts';
import { coalesce, Listeners } from '../core/signal.ts';
import { Replica, type OrderedLog } from '../group/index.ts';
import { Attempts } from './attempts.ts';
import { signDocument } from './document.ts';
import { keyFromPem, keyToPem, newKey, publicDer } from './keys.ts';
import { membershipOf, registryMachine, revocationOf, type RegistryCommand, type RegistryEffect, type RegistryState, type VoState } from './state.ts';
import { fingerprint, type Trust } from './trust.ts';
import type { Founding } from './authority.ts';
import { newSerial, type Issuer } from './leaf.ts';

export interface RegistryPorts {
  readonly clock: Clock;
  readonly random: Random;
  readonly disk: Disk;
  readonly log: Log;
}

/** The signed documents as they go to the nodes. */
export interface SignedDocuments {
  readonly membership: Buffer;
  readonly membership_version: number;
  readonly revocation: Buffer;
  readonly revocation_version: number;
}

export interface NodeIdentity {
  readonly key: string;
  readonly certificate: string;
  readonly trust: Trust;
  readonly expires_ms: number;
}

export interface NodePlace {
  readonly node: string;
  readonly address: string;
  readonly port: number;
  readonly roles: readonly NodeRole[];
}

type Authorities = Omit<Founding, 'root_key'>;

const trusted_places_max = 8_192;

/**
 * The registry of one VO: the state machine, the VO's signing keys, and the documents that nodes get. Lives on the node with the role
 * `registry`; operations on it are in ops/.
 */
export class Registry {
  readonly ports: RegistryPorts;
  /** Of what only this process may read: the authorities' keys, and what must outlive it (0700). */
  readonly directory: string;
  readonly #replica: Replica<RegistryState, RegistryCommand, RegistryEffect>;
  readonly #changes = new Listeners<[]>();
  /** Wrong passwords of the last hour; beside the log, so that who guesses does not fill it. */
  readonly attempts = new Attempts();
  /** Where members got in since this registry started, `user node`, oldest first: there they are not slowed down by guesses elsewhere. */
  readonly trustedPlaces = new Set<string>();
  /** Writes the attempts down, soon: a crash may lose the last ones. */
  readonly saveAttempts: () => void;
  #authorities: Authorities | null = null;
  #userIssuer: Issuer | null = null;
  #nodeIssuer: Issuer | null = null;
  #documents: SignedDocuments | null = null;
  #documentsAt_ms = 0;

  /** `directory`: of the authorities' keys (0700). `log`: of the state. */
  constructor(directory: string, log: OrderedLog, ports: RegistryPorts) {
    this.ports = ports;
    this.directory = directory;
    const path = `${directory}/attempts.json`;
    this.saveAttempts = coalesce(() => ports.disk.writeAtomic(path, this.attempts.save(), { durable: false }), (thrown) => ports.log.warn('cannot keep the failed logins over a restart', { reason: String(thrown) }));
    this.#replica = new Replica(registryMachine, log, { log: ports.log });
    this.#replica.onChange((_, effects) => {
      if (effects.length === 0) return;
      this.#documents = null;
      this.#changes.emit();
    });
  }

  async start(): Promise<void> {
    await this.#replica.start();
    const kept = await this.ports.disk.read(`${this.directory}/authorities.json`);
    if (kept !== null) this.#authorities = JSON.parse(kept.toString('utf8')) as Authorities;
    const attempts = await this.ports.disk.read(`${this.directory}/attempts.json`);
    try {
      if (attempts !== null) this.attempts.load(attempts.toString('utf8'));
    } catch {
      this.ports.log.warn('the failed logins of before cannot be read; counting begins anew');
    }
    if (this.#replica.state.vo !== null && this.#authorities === null) {
      throw new XosError('XOS_REGISTRY', `the registry's keys '${this.directory}/authorities.json' are gone; restore them from the backup`);
    }
  }

  stop(): Promise<void> {
    return this.#replica.stop();
  }

  /** Notes where a member got in. */
  trustPlace(place: string): void {
    this.trustedPlaces.delete(place);
    const [oldest] = this.trustedPlaces;
    if (this.trustedPlaces.size >= trusted_places_max && oldest !== undefined) this.trustedPlaces.delete(oldest);
    this.trustedPlaces.add(place);
  }

  /** null until the VO is founded. */
  get vo(): VoState | null {
    return this.#replica.state.vo;
  }

  /** Throws XOS_NO_VO. */
  require(): VoState {
    const vo = this.vo;
    if (vo === null) throw new XosError('XOS_NO_VO', "this node is no VO's registry yet; found one with 'xvo create'");
    return vo;
  }

  propose(command: RegistryCommand): Promise<void> {
    return this.#replica.propose(command);
  }

  /** Called when there are new documents. */
  onDocuments(listener: () => void): () => void {
    return this.#changes.add(listener);
  }

  /** Signed when first asked for after a change, and anew before half of their life is over. */
  documents(): SignedDocuments {
    const now_ms = this.ports.clock.now_ms();
    if (this.#documents !== null && now_ms - this.#documentsAt_ms < limits.document_ms / 4) return this.#documents;
    const vo = this.require();
    const key = keyFromPem(this.#keys().registry_key);
    this.#documentsAt_ms = now_ms;
    this.#documents = {
      membership: signDocument(membershipOf(vo, now_ms), key),
      membership_version: vo.membership_version,
      revocation: signDocument(revocationOf(vo, now_ms), key),
      revocation_version: vo.revocation_version,
    };
    return this.#documents;
  }

  /** Why a node may not act, by the state itself; null when it may. */
  refuseNode(peer: PeerIdentity): XosError | null {
    const vo = this.require();
    const entry = Object.hasOwn(vo.nodes, peer.node) ? vo.nodes[peer.node] : undefined;
    if (vo.revoked_nodes.some(({ serial }) => serial === peer.serial)) return new XosError('XOS_NOT_ADMITTED', `the certificate of node '${peer.node}' was revoked`, { node: peer.node });
    if (entry?.state === 'admitted') return null;
    return new XosError('XOS_NOT_ADMITTED', `node '${peer.node}' is ${entry === undefined ? 'not a node' : entry.state === 'revoked' ? 'a revoked node' : 'only invited as a node'} of VO '${vo.vo}'`, { node: peer.node });
  }

  trust(): Trust {
    const vo = this.require();
    const { root, user_ca, node_ca, node_ca_cross, registry } = this.#keys();
    const home = vo.nodes[vo.registry]!;
    return {
      vo: vo.vo, number: vo.number, root, user_ca, node_ca, node_ca_cross, registry,
      registry_node: vo.registry, registry_address: home.address, registry_port: home.port, founded_ms: vo.founded_ms,
    };
  }

  rootFingerprint(): string {
    return fingerprint(this.#keys().root);
  }

  /** The same object at each call: who issues keeps what it makes of it. */
  userIssuer(): Issuer {
    return (this.#userIssuer ??= { key: keyFromPem(this.#keys().user_ca_key), certificate: this.#keys().user_ca });
  }

  nodeIssuer(): Issuer {
    return (this.#nodeIssuer ??= { key: keyFromPem(this.#keys().node_ca_key), certificate: this.#keys().node_ca });
  }

  /**
   * Founds the VO: makes its keys, signs the two CAs and the registry with the root, writes the root's key to a file of its own that the
   * founder is to move away, and makes this node the first one. A crash in between leaves no VO, and founding starts again.
   */
  async found(vo: string, number: number, place: NodePlace): Promise<{ identity: NodeIdentity; root_key_file: string }> {
    if (this.vo !== null) throw new XosError('XOS_VO_EXISTS', `this node is the registry of VO '${this.vo.vo}' already`);
    const { clock, disk, random } = this.ports;
    const at_ms = clock.now_ms();
    const { foundAuthorities } = await import('./authority.ts');
    const { root_key, ...authorities } = await foundAuthorities(vo, at_ms, random);
    await disk.makeDirectory(this.directory, 0o700);
    const root_key_file = `${this.directory}/${vo}-root-key.pem`;
    await disk.writeAtomic(root_key_file, root_key);
    await disk.writeAtomic(`${this.directory}/authorities.json`, JSON.stringify(authorities));
    this.#authorities = authorities;
    const key = newKey();
    const made = await this.#certify(vo, place.node, key);
    await this.propose({ kind: 'found', vo, number, ...place, serial: made.serial, expires_ms: made.expires_ms, at_ms });
    return { identity: { key: keyToPem(key), certificate: made.certificate, trust: this.trust(), expires_ms: made.expires_ms }, root_key_file };
  }

  /** A certificate for the registry's own node, when its files are lost or old. */
  async ownIdentity(place: NodePlace): Promise<NodeIdentity> {
    const vo = this.require();
    const key = newKey();
    const made = await this.#certify(vo.vo, vo.registry, key);
    await this.propose({ kind: 'node-renew', node: vo.registry, serial: made.serial, expires_ms: made.expires_ms, at_ms: this.ports.clock.now_ms() });
    await this.placeNode(place);
    return { key: keyToPem(key), certificate: made.certificate, trust: this.trust(), expires_ms: made.expires_ms };
  }

  /** Notes where a node is and what it serves; nothing is written when that is known. */
  async placeNode(place: NodePlace): Promise<void> {
    const known = this.require().nodes[place.node];
    if (known === undefined || (known.address === place.address && known.port === place.port && known.roles.join() === place.roles.join())) return;
    await this.propose({ kind: 'node-move', ...place });
  }

  async #certify(vo: string, node: string, key: KeyObject): Promise<{ certificate: string; serial: string; expires_ms: number }> {
    return await this.certifyNode(vo, node, publicDer(key));
  }

  /** Issues a node's certificate; the caller notes its serial in the state. `publicKey` is DER. */
  async certifyNode(vo: string, node: string, publicKey: Buffer): Promise<{ certificate: string; serial: string; expires_ms: number }> {
    const { issueNodeCertificate } = await import('./authority.ts');
    const now_ms = this.ports.clock.now_ms();
    const expires_ms = now_ms + limits.node_certificate_ms;
    const serial = newSerial(this.ports.random);
    const certificate = await issueNodeCertificate({ vo, node, publicKey, serial, now_ms, expires_ms, issuer: this.nodeIssuer() });
    return { certificate, serial: serial.toString('hex'), expires_ms };
  }

  #keys(): Authorities {
    if (this.#authorities === null) throw new XosError('XOS_NO_VO', 'this registry has no keys yet');
    return this.#authorities;
  }
}

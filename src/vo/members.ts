import type { Members } from '../daemon/context.ts';
import { XosError, describe } from '../core/errors.ts';
import type { Member, NodeRecord, NodeRole } from '../core/model.ts';
import type { Clock, Disk, Log } from '../core/ports.ts';
import type { PeerIdentity, Rpc } from '../core/rpc.ts';
import { Listeners, keepTrying } from '../core/signal.ts';
import { groupsOf } from '../account/uid.ts';
import { RegistryDefinition, type Documents } from '../proto/xos/registry/v1/registry.ts';
import { policyOf, type LoginPolicy } from './login-policy.ts';
import { verifyDocument, type MembershipDocument, type RevocationDocument } from './document.ts';
import type { NodePlace } from './registry.ts';
import type { Trust } from './trust.ts';

export interface MembersOptions {
  readonly trust: Trust;
  readonly place: NodePlace;
  /** /var/lib/xos/vo: the last documents are kept there. */
  readonly directory: string;
  readonly clock: Clock;
  readonly disk: Disk;
  readonly log: Log;
}

/** A stream that says nothing for this long is dead: the registry sends a frame every 5 s. */
const silence_ms = 15_000;

/**
 * The facts of the VO on this node: verified, cached, followed. Goes on with what it holds while the registry is away, until the
 * documents expire; then `usable` tells why nobody can be let in.
 */
export class MembersView implements Members {
  readonly #options: MembersOptions;
  readonly #changes = new Listeners<[]>();
  #membership: MembershipDocument | null = null;
  #revocation: RevocationDocument | null = null;
  #members = new Map<string, Member>();
  #byUid = new Map<number, Member>();
  #nodes = new Map<string, NodeRecord>();
  #revokedUids = new Set<number>();
  #revokedSerials = new Set<string>();
  #connected = false;

  constructor(options: MembersOptions) {
    this.#options = options;
  }

  /** Takes the cached documents, if there are any that hold. */
  async load(): Promise<void> {
    const { disk, directory, log } = this.#options;
    for (const kind of ['membership', 'revocation'] as const) {
      const kept = await disk.read(`${directory}/${kind}.json`);
      if (kept === null) continue;
      try {
        this.#take(kind, kept);
      } catch (thrown) {
        log.warn('a cached document is not used', { kind, reason: describe(thrown) });
      }
    }
  }

  /** Follows the registry until `signal` aborts. */
  async follow(rpc: Rpc, signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#options;
    await keepTrying(() => this.#stream(rpc, signal), { clock, log, what: 'watching the registry', signal, ms_min: 100, ms_max: 2_000 });
  }

  async #stream(rpc: Rpc, signal: AbortSignal): Promise<void> {
    const { place, clock } = this.#options;
    const { address, port, roles } = place;
    const request = { membership_version: this.#membership?.version ?? 0, revocation_version: this.#revocation?.version ?? 0, address, port, roles: [...roles] };
    const stream = new AbortController();
    const either = AbortSignal.any([signal, stream.signal]);
    let heard_ms = clock.monotonic_ms();
    const watchdog = (async () => {
      while (!either.aborted) {
        await clock.sleep(silence_ms / 3, either);
        if (clock.monotonic_ms() - heard_ms > silence_ms) stream.abort(new XosError('XOS_UNREACHABLE', 'the registry says nothing any more'));
      }
    })().catch(() => {});
    try {
      for await (const documents of rpc.client(this.registryNode(), RegistryDefinition).watch(request, { deadline_ms: 0, signal: either })) {
        heard_ms = clock.monotonic_ms();
        this.#connected = true;
        await this.accept(documents);
      }
    } finally {
      this.#connected = false;
      stream.abort();
      await watchdog;
    }
  }

  /** Where CDA, RCA and registry are. */
  registryNode(): string {
    return this.#membership?.registry ?? this.#options.trust.registry_node;
  }

  /** Verifies, uses and keeps documents. Throws XOS_DOCUMENT. */
  async accept(documents: Documents): Promise<void> {
    const { disk, directory } = this.#options;
    // Revocations first: a removed name must be out before a new member of that name is in.
    for (const kind of ['revocation', 'membership'] as const) {
      const envelope = documents[kind];
      if (envelope === undefined || envelope.length === 0) continue;
      this.#take(kind, envelope);
      await disk.makeDirectory(directory, 0o755);
      await disk.writeAtomic(`${directory}/${kind}.json`, Buffer.from(envelope), { mode: 0o644 });
    }
    if (documents.membership !== undefined || documents.revocation !== undefined) this.#changes.emit();
  }

  /** Takes a document that came by the overlay. False when the one that is held is as new. Throws XOS_DOCUMENT. */
  async offer(kind: 'membership' | 'revocation', envelope: Uint8Array): Promise<boolean> {
    const held = kind === 'membership' ? this.#membership : this.#revocation;
    const offered = verifyDocument(envelope, kind, this.#options.trust, 0);
    // Documents that were only signed anew have the same version and a later date.
    if (held !== null && (offered.version < held.version || (offered.version === held.version && offered.issued_ms <= held.issued_ms))) return false;
    await this.accept({ [kind]: envelope });
    return true;
  }

  #take(kind: 'membership' | 'revocation', envelope: Uint8Array): void {
    const { trust } = this.#options;
    if (kind === 'revocation') {
      this.#revocation = verifyDocument(envelope, kind, trust, this.#revocation?.version ?? 0);
      this.#revokedUids = new Set(this.#revocation.users.map((user) => user.uid));
      this.#revokedSerials = new Set(this.#revocation.nodes.map((node) => node.serial));
      return;
    }
    this.#membership = verifyDocument(envelope, kind, trust, this.#membership?.version ?? 0);
    const members = this.#membership.members.map(({ user, uid, roles, state }): Member => {
      const groups = groupsOf(trust.number, uid); // checks the uid's range
      return { user, vo: trust.vo, uid, gid: uid, groups, roles, state };
    });
    this.#members = new Map(members.map((member) => [member.user, member]));
    this.#byUid = new Map(members.map((member) => [member.uid, member]));
    this.#nodes = new Map(this.#membership.nodes.map((node) => [node.node, node]));
  }

  /** What the VO says about logins. */
  loginPolicy = (): LoginPolicy => policyOf(this.#membership?.login);
  /** When an admin last unlocked the member; 0: never. */
  unlockedAt = (user: string): number => this.#membership?.members.find((member) => member.user === user)?.unlocked_ms ?? 0;
  /** Serial numbers of node certificates that are void before they expire. */
  revokedSerials = (): readonly string[] => [...this.#revokedSerials];
  revokedUsers = (): RevocationDocument['users'] => this.#revocation?.users ?? [];
  policy = (): Readonly<Record<string, string>> => this.#membership?.isolation ?? {};
  get = (user: string): Member | null => this.#members.get(user) ?? null;
  byUid = (uid: number): Member | null => this.#byUid.get(uid) ?? null;
  list = (): readonly Member[] => [...this.#members.values()];
  node = (node: string): NodeRecord | null => this.#nodes.get(node) ?? null;
  nodes = (): readonly NodeRecord[] => [...this.#nodes.values()];
  admitted = (): readonly NodeRecord[] => this.nodes().filter((node) => node.state === 'admitted');
  withRole = (role: NodeRole): NodeRecord | null => this.admitted().find((node) => node.roles.includes(role)) ?? null;
  onChange = (listener: () => void): (() => void) => this.#changes.add(listener);
  connected = (): boolean => this.#connected;

  /** null when people may be let in by these facts; otherwise why not. */
  usable(): XosError | null {
    const { clock, trust } = this.#options;
    if (this.#membership === null || this.#revocation === null) return new XosError('XOS_UNAVAILABLE', `this node does not hold the facts of VO '${trust.vo}' yet: the registry was not reached`);
    const until_ms = Math.min(this.#membership.expires_ms, this.#revocation.expires_ms);
    if (clock.now_ms() < until_ms) return null;
    return new XosError('XOS_FACTS_EXPIRED', `the facts of VO '${trust.vo}' on this node expired ${new Date(until_ms).toISOString()}: the registry was not reached for days`, { until_ms });
  }

  /** Why a credential's owner may not act; null when it may. */
  refuseUser(user: string, uid: number): XosError | null {
    const member = this.get(user);
    const revoked = this.#revokedUids.has(uid) || member === null || member.uid !== uid || member.state === 'revoked';
    return this.usable() ?? (revoked ? new XosError('XOS_REVOKED', `member '${user}@${this.#options.trust.vo}' is revoked`, { user, uid }) : null);
  }

  /** Why a node may not act; null when it may. */
  refuseNode(peer: PeerIdentity): XosError | null {
    const { trust } = this.#options;
    if (peer.serial !== undefined && this.#revokedSerials.has(peer.serial)) return new XosError('XOS_NOT_ADMITTED', `the certificate of node '${peer.node}' was revoked`, { node: peer.node });
    // The registry's node is believed before the first document: it is what the documents come from.
    if (this.#membership === null) return peer.node === trust.registry_node ? null : new XosError('XOS_NOT_ADMITTED', `node '${peer.node}' is not known here yet`, { node: peer.node });
    const state = this.node(peer.node)?.state;
    if (state === 'admitted') return null;
    return new XosError('XOS_NOT_ADMITTED', `node '${peer.node}' is ${state === undefined ? 'not a node' : state === 'revoked' ? 'a revoked node' : 'only invited as a node'} of VO '${trust.vo}'`, { node: peer.node });
  }

  /** Where a node's xosd listens; the registry's before any document is there. */
  resolve(node: string): { address: string; port: number } | null {
    const record = this.node(node);
    if (record !== null) return record.state === 'admitted' ? { address: record.address, port: record.port } : null;
    const { trust } = this.#options;
    return node === trust.registry_node && this.#membership === null ? { address: trust.registry_address, port: trust.registry_port } : null;
  }
}

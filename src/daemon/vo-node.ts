import { createHash } from 'node:crypto';
import { registerSessionOperations, Homes, OfflineLogins, PendingLogins, SessionTable, Spread, SshAgents, isGranted, prove, sessionService, sshHostService, type CredentialKeys, type SessionParts } from '../session/index.ts';
import { accountService } from '../account/service.ts';
import type { ApiRegistry } from '../api/registry.ts';
import { XosError, describe } from '../core/errors.ts';
import { port_offset } from '../core/model.ts';
import type { Ports } from '../core/ports.ts';
import type { Service, ServiceStatus } from '../core/service.ts';
import { hour_ms } from '../core/units.ts';
import { NodeRpc } from '../platform/rpc.ts';
import { ResourcesDefinition } from '../proto/xos/admission/v1/admission.ts';
import { registerAdminOperations } from '../vo/admin-api.ts';
import { Attempts } from '../vo/attempts.ts';
import { coalesce } from '../core/signal.ts';
import { keyToPem } from '../vo/keys.ts';
import { requestFor, tlsIdentity, type IdentityStore, type StoredIdentity } from '../vo/identity.ts';
import { MembersView } from '../vo/members.ts';
import { ProofGate } from '../vo/proof.ts';
import type { Registry } from '../vo/registry.ts';
import { verifyTrust, fingerprint } from '../vo/trust.ts';
import type { NodeConfig } from './config.ts';
import type { NodeContext, Paths } from './context.ts';
import { NativeServices } from './native.ts';
import { services } from './services.ts';

export interface VoNodeOptions {
  readonly config: NodeConfig;
  readonly paths: Paths;
  readonly ports: Ports;
  readonly api: ApiRegistry;
  readonly identity: StoredIdentity;
  readonly store: IdentityStore;
  readonly registry: Registry | null;
  readonly keys: CredentialKeys;
}

/** The node as a part of its VO: everything that needs the node's certificate. Started when it has one. */
export class VoNode {
  readonly options: VoNodeOptions;
  readonly members: MembersView;
  readonly parts: SessionParts;
  readonly native: NativeServices;
  readonly #rpc: NodeRpc;
  readonly #stopping = new AbortController();
  readonly #undo: (() => void)[] = [];
  readonly #loops: Promise<void>[] = [];
  #identity: StoredIdentity;
  #running: Service[] = [];

  constructor(options: VoNodeOptions) {
    const { config, paths, ports, identity, registry, api, keys } = options;
    const { trust, node } = identity;
    this.options = options;
    this.#identity = identity;
    const place = { node, address: config.address, port: config.port, roles: config.roles };
    this.members = new MembersView({ trust, place, directory: `${paths.state}/vo`, ...ports, log: ports.log.child('members') });
    this.#rpc = new NodeRpc(tlsIdentity(identity), {
      clock: ports.clock,
      log: ports.log.child('rpc'),
      resolve: (wanted) => this.members.resolve(wanted),
      // The registry's node need not wait for its own document.
      refuse: (peer) => (registry === null ? this.members.refuseNode(peer) : registry.refuseNode(peer)),
    });
    this.native = new NativeServices({ node, vo: trust.vo, run: paths.run, credentials: `${paths.state}/node`, roles: config.roles, members: this.members, ports });
    const table = new SessionTable(`${paths.run}/sessions.json`, ports);
    const context: NodeContext = {
      node, vo: trust.vo, address: config.address, port: config.port, roles: config.roles, metrics_port: config.metrics ?? config.port + port_offset.metrics, paths, ports, rpc: this.#rpc, api,
      native: this.native.controls, members: this.members, sessions: table, provided: { volumes: null },
    };
    const homes = new Homes(context, config.policy);
    const spread = new Spread(context, table);
    const attempts = new Attempts();
    const saveAttempts = coalesce(() => ports.disk.writeAtomic(`${paths.run}/attempts.json`, attempts.save(), { durable: false }), (thrown) => ports.log.warn('cannot keep the failed logins over a restart', { reason: describe(thrown) }));
    const secret = createHash('sha256').update('xos-offline-v1\0').update(keyToPem(identity.key)).digest();
    this.parts = {
      context, trust, members: this.members, table, pending: new PendingLogins(), homes, spread, gate: new ProofGate(`${paths.state}/node/proofs.json`, ports), policy: config.policy, keys, attempts, saveAttempts,
      offline: new OfflineLogins(`${paths.state}/node/offline.json`, secret, () => this.members.loginPolicy().password_cost, ports), sshAgents: new SshAgents(context, trust, table), localAccounts: '/etc',
    };
  }

  /** Resolves when logins work as far as they can now; what is not there yet (the registry, a native daemon) comes by itself. */
  async start(signal: AbortSignal): Promise<void> {
    const { ports, paths, config, registry } = this.options;
    await this.members.load();
    await this.#loadAttempts();
    if (registry !== null) {
      const { serveRegistry } = await import('../vo/service.ts');
      serveRegistry(this.#rpc, registry);
      await this.members.accept(registry.documents());
    }
    const { trust } = this.#identity;
    const made = [
      await this.#makeOverlay(),
      accountService({ vo: trust.vo, number: trust.number, members: this.members, run: paths.run, home: paths.home, ...ports, log: ports.log.child('account') }),
      this.native,
      ...(await Promise.all(services.map(async ({ load }) => (await load())(this.parts.context)))),
      sessionService(this.parts),
      sshHostService({ context: this.parts.context, trust, members: this.members, hostKey: '/etc/ssh/ssh_host_ed25519_key.pub', sshd: '/usr/sbin/sshd' }),
    ];
    await this.#rpc.listen(config.listen, config.port);
    this.#loops.push(this.members.follow(this.#rpc, this.#stopping.signal), this.#keepCertificate());
    this.#undo.push(this.members.onChange(() => this.#dropRevoked()), registerSessionOperations(this.options.api, this.parts.table), this.#registerAdmin());
    for (const service of made) {
      await service.start(AbortSignal.any([signal, this.#stopping.signal]));
      this.#running.push(service);
    }
  }

  async #loadAttempts(): Promise<void> {
    const { disk, log } = this.options.ports;
    const kept = await disk.read(`${this.options.paths.run}/attempts.json`);
    try {
      if (kept !== null) this.parts.attempts.load(kept.toString('utf8'));
    } catch {
      log.warn('the failed logins of before cannot be read; counting begins anew');
    }
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new XosError('XOS_ABORTED', 'xosd stops'));
    for (const undo of this.#undo.splice(0)) undo();
    for (const service of this.#running.splice(0).reverse()) {
      await service.stop().catch((thrown: unknown) => this.options.ports.log.error('a service did not stop cleanly', { name: service.name, reason: describe(thrown) }));
    }
    await this.#rpc.stop();
    await Promise.all(this.#loops);
  }

  status(): readonly (ServiceStatus & { readonly name: string })[] {
    const unusable = this.members.usable();
    const connected = this.members.connected();
    const registry = { name: 'registry', up: connected && unusable === null, detail: unusable?.message ?? (connected ? '' : `the registry on node '${this.members.registryNode()}' is away; this node goes on with what it holds`) };
    const running = this.#running.map((service) => ({ name: service.name, ...(service.status?.() ?? { up: true, detail: '' }) }));
    const native = this.native.wanted().map(({ name, control }) => ({ name, up: this.native.controls[control].connected, detail: this.native.controls[control].reason }));
    return [registry, ...running, ...native];
  }

  #dropRevoked(): void {
    for (const { node, state } of this.members.nodes()) if (state !== 'admitted') this.#rpc.drop(node);
  }

  #registerAdmin(): () => void {
    const { api, ports, registry, identity } = this.options;
    const { table } = this.parts;
    return registerAdminOperations({
      vo: identity.trust.vo,
      node: identity.node,
      api,
      rpc: this.#rpc,
      ...ports,
      registry,
      registryNode: () => this.members.registryNode(),
      signFor: (uid, statement) => {
        const held = table.all().find((session) => session.uid === uid && isGranted(session));
        return held?.own == null ? null : { credential: held.own.credential, ...prove(held, ports, statement) };
      },
    });
  }

  async #makeOverlay(): Promise<Service> {
    const { config, registry } = this.options;
    const { trust } = this.#identity;
    const { OverlayService } = await import('../overlay/service/index.ts');
    return new OverlayService({
      context: this.parts.context, listen: config.listen, node_ca: trust.node_ca, identity: () => this.#identity, attributes: config.attributes, rules: config.topics,
      refuse: (peer) => (registry === null ? this.members.refuseNode(peer) : registry.refuseNode(peer)),
      facts: {
        registry: registry === null ? null : { current: () => registry.documents(), onChange: (listener) => registry.onDocuments(listener) },
        take: (kind, envelope) => this.members.offer(kind, envelope),
      },
    });
  }

  /** Renews the node's certificate from half of its life on; the native daemons then read it again. */
  async #keepCertificate(): Promise<void> {
    const { clock, log } = this.options.ports;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const { issued_ms, expires_ms } = this.#identity;
      if (clock.now_ms() > issued_ms + (expires_ms - issued_ms) / 2) {
        await this.renewCertificate(signal).catch((thrown: unknown) => log.warn('the certificate of this node was not renewed; trying again', { expires: new Date(expires_ms).toISOString(), reason: describe(thrown) }));
      }
      await clock.sleep(hour_ms / 4, signal).catch(() => {});
    }
  }

  async renewCertificate(signal: AbortSignal): Promise<void> {
    const { store, ports } = this.options;
    const { key, node, trust } = this.#identity;
    const answer = await this.#rpc.client(this.members.registryNode(), ResourcesDefinition).renew({ csr: requestFor(key, node) }, { signal });
    const renewedTrust = verifyTrust(JSON.parse(Buffer.from(answer.trust).toString('utf8')), fingerprint(trust.root));
    this.#identity = await store.store(key, answer.certificate, renewedTrust);
    this.#rpc.renew(tlsIdentity(this.#identity));
    ports.log.info('the certificate of this node was renewed', { expires: new Date(this.#identity.expires_ms).toISOString() });
  }
}


import { agentService } from '../session/index.ts';
import { ApiRegistry } from '../api/registry.ts';
import { apiServer } from '../api/server.ts';
import type { NodeStatus } from '../api/operations/node.ts';
import type { VoSummary } from '../api/operations/admin.ts';
import { XosError, describe, hasCode } from '../core/errors.ts';
import { parseVoName } from '../core/ids.ts';
import { limits } from '../core/limits.ts';
import type { Ports } from '../core/ports.ts';
import type { Service } from '../core/service.ts';
import { joiningClient, shownChain } from '../platform/rpc.ts';
import { AdmissionDefinition } from '../proto/xos/admission/v1/admission.ts';
import { IdentityStore, type StoredIdentity } from '../vo/identity.ts';
import { joinVo } from '../vo/join.ts';
import type { CredentialKeys } from '../session/index.ts';
import type { Registry } from '../vo/registry.ts';
import { decodeToken } from '../vo/token.ts';
import type { NodeConfig } from './config.ts';
import type { Paths } from './context.ts';
import { VoNode } from './vo-node.ts';

export interface NodeDaemonOptions {
  readonly config: NodeConfig;
  readonly paths: Paths;
  readonly ports: Ports;
  readonly version: string;
  readonly keys: CredentialKeys;
}

/** One xosd: serves its sockets from the start, and is a node of a VO as soon as it founded or joined one. */
export class NodeDaemon {
  readonly api = new ApiRegistry();
  readonly #options: NodeDaemonOptions;
  readonly #store: IdentityStore;
  readonly #sockets: readonly Service[];
  readonly #stopping = new AbortController();
  readonly #started_ms: number;
  #registry: Registry | null = null;
  #vo: VoNode | null = null;
  #state: NodeStatus['state'] = 'starting';
  #reason = '';
  #joining: Promise<void> | null = null;

  constructor(options: NodeDaemonOptions) {
    const { paths, ports } = options;
    this.#options = options;
    this.#started_ms = ports.clock.monotonic_ms();
    this.#store = new IdentityStore(ports.disk, `${paths.state}/node`);
    const identify = (uid: number): { user: string; vo: string } | null => this.#vo?.members.byUid(uid) ?? null;
    this.#sockets = [
      apiServer({ network: ports.network, log: ports.log.child('api'), path: `${paths.run}/xosd.sock`, registry: this.api, identify }),
      agentService({ context: { ports, paths }, parts: () => (this.#state === 'ready' || this.#state === 'degraded' ? (this.#vo?.parts ?? null) : null) }),
    ];
  }

  async start(): Promise<void> {
    const { config, paths, ports } = this.#options;
    for (const [path, mode] of [[paths.run, 0o755], [paths.state, 0o755]] as const) await ports.disk.makeDirectory(path, mode);
    this.api.register('status', async () => this.status());
    for (const socket of this.#sockets) await socket.start(this.#stopping.signal);
    if (config.roles.includes('registry')) this.#registry = await this.#openRegistry();
    const identity = await this.#identity();
    if (identity !== null) return await this.#enter(identity);
    if (config.join !== null) this.#joining = this.#join(config.join);
    else {
      this.#state = 'waiting';
      this.#reason = config.roles.includes('registry') ? "found a VO with 'xvo create VO'" : "give this node a join token of 'xvo node invite' in /etc/xos/node.json";
    }
    if (this.#registry !== null) this.api.register('vo-create', (caller, request) => this.#create(caller.uid, request.vo, request.number ?? 1));
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new XosError('XOS_ABORTED', 'xosd stops'));
    await this.#joining;
    for (const socket of [...this.#sockets].reverse()) await socket.stop();
    await this.#vo?.stop();
    await this.#registry?.stop();
  }

  async #openRegistry(): Promise<Registry> {
    const { paths, ports } = this.#options;
    // Only here: LMDB and the certificate tools are nothing for the memory of the other nodes.
    const [{ Registry }, { LmdbLog }] = await Promise.all([import('../vo/registry.ts'), import('../group/index.ts')]);
    await ports.disk.makeDirectory(`${paths.state}/registry`, 0o700);
    const registry = new Registry(`${paths.state}/registry`, new LmdbLog(`${paths.state}/registry/log`), { ...ports, log: ports.log.child('registry') });
    await registry.start();
    return registry;
  }

  /** Who this node is; null before it founded or joined. The registry's own node makes itself a certificate when its files are lost. */
  async #identity(): Promise<StoredIdentity | null> {
    const { config, ports } = this.#options;
    const vo = this.#registry?.vo ?? null;
    const kept = await this.#store.load();
    if (kept !== null && kept.node !== config.node) throw new XosError('XOS_IDENTITY', `this node was '${kept.node}' of VO '${kept.trust.vo}', and the configuration calls it '${config.node}'; change it back, or move the old identity away`);
    if (vo !== null && vo.registry === config.node && (kept === null || kept.trust.vo !== vo.vo || kept.expires_ms < ports.clock.now_ms())) {
      const { key, certificate, trust } = await this.#registry!.ownIdentity(this.#place());
      const { keyFromPem } = await import('../vo/keys.ts');
      return await this.#store.store(keyFromPem(key), certificate, trust);
    }
    return kept;
  }

  #place(): { node: string; address: string; port: number; roles: NodeConfig['roles'] } {
    const { node, address, port, roles } = this.#options.config;
    return { node, address, port, roles };
  }

  async #enter(identity: StoredIdentity): Promise<void> {
    const { ports } = this.#options;
    this.#state = 'starting';
    this.#reason = '';
    const registry = this.#registry?.vo == null ? null : this.#registry;
    const vo = new VoNode({ ...this.#options, api: this.api, identity, store: this.#store, registry });
    this.#vo = vo;
    await vo.start(this.#stopping.signal);
    this.#state = 'ready';
    ports.log.info('this node is part of its VO', { node: identity.node, vo: identity.trust.vo });
  }

  async #create(uid: number, name: string, number: number): Promise<VoSummary & { root_key_file: string }> {
    const { ports } = this.#options;
    if (uid !== 0) throw new XosError('XOS_DENIED', 'only root founds a VO');
    const vo = parseVoName(name);
    if (!Number.isInteger(number) || number < 1 || number > limits.vo_number_max) throw new XosError('XOS_BAD_ARGUMENT', `VO number ${number} is not between 1 and ${limits.vo_number_max}`);
    const present = this.#vo?.options.identity.trust.vo;
    if (present !== undefined || this.#state === 'starting' || this.#state === 'joining') throw new XosError('XOS_VO_EXISTS', `this node is part of VO '${present ?? 'being made'}' already; a node belongs to one VO`, { vo: present ?? null });
    this.#state = 'starting';
    try {
      const { identity, root_key_file } = await this.#registry!.found(vo, number, this.#place());
      const { keyFromPem } = await import('../vo/keys.ts');
      await this.#enter(await this.#store.store(keyFromPem(identity.key), identity.certificate, identity.trust));
      ports.log.warn("the VO's root key must be moved to a safe place off this machine", { file: root_key_file });
      const { administer } = await import('../vo/ops/administer.ts');
      return { ...(await administer(this.#registry!, 'vo-show', {}, { user: null, admin: true, node: this.#options.config.node })), root_key_file };
    } catch (thrown) {
      if (this.#vo === null) this.#state = 'waiting';
      throw thrown;
    }
  }

  /** Until it is in: the registry may be away, the token may have to be replaced (which needs a restart, since it is configuration). */
  async #join(text: string): Promise<void> {
    const { ports } = this.#options;
    const { signal } = this.#stopping;
    const hopeless = ['XOS_BAD_TOKEN', 'XOS_TOKEN_EXPIRED', 'XOS_WRONG_NODE', 'XOS_TRUST', 'XOS_IDENTITY'];
    this.#state = 'joining';
    for (let pause_ms = 200; !signal.aborted; pause_ms = Math.min(pause_ms * 2, 5_000)) {
      try {
        const joined = await joinVo(decodeToken(text), this.#place(), this.#store, {
          clock: ports.clock,
          shownChain,
          connect: (token, root) => joiningClient({ ...token, root }, AdmissionDefinition, ports.clock),
        }, ports.clock.deadline(limits.rpc_deadline_ms, signal));
        ports.log.info('joined the VO', { vo: joined.trust.vo, node: joined.node });
        return await this.#enter(joined);
      } catch (thrown) {
        if (signal.aborted) return;
        const reason = describe(thrown);
        if (this.#reason !== reason) ports.log.error('cannot join the VO', { reason });
        this.#reason = reason;
        if (this.#vo !== null) throw thrown; // joined; what failed is the node itself
        await ports.clock.sleep(hasCode(thrown, ...hopeless) ? 30_000 : pause_ms, signal).catch(() => {});
      }
    }
  }

  status(): NodeStatus {
    const { config, ports, version } = this.#options;
    const services = this.#vo?.status() ?? [];
    const down = services.filter((service) => !service.up);
    const state = this.#state === 'ready' && down.length > 0 ? 'degraded' : this.#state;
    return {
      node: config.node,
      vo: this.#vo?.options.identity.trust.vo ?? null,
      state,
      reason: state === 'degraded' ? down.map(({ name, detail }) => `${name}: ${detail}`).join('; ') : this.#reason,
      version,
      address: config.address,
      roles: config.roles,
      uptime_ms: Math.round(ports.clock.monotonic_ms() - this.#started_ms),
      services,
      peers: (this.#vo?.members.nodes() ?? []).filter((node) => node.node !== config.node).map(({ node, address, state }) => ({ node, address, state })),
      sessions: this.#vo?.parts.table.all().length ?? 0,
      memory_bytes: process.memoryUsage.rss(),
    };
  }
}

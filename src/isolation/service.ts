import { describe } from '../core/errors.ts';
import { second_ms } from '../core/units.ts';
import type { Service } from '../core/service.ts';
import { coalesce } from '../core/signal.ts';
import type { NodeContext } from '../daemon/context.ts';
import type { NodeLimits } from '../api/operations/isolation.ts';
import { port_offset } from '../core/model.ts';
import { firewallRules } from './firewall.ts';
import { ensureGroup, findDisks, findHierarchy, type Hierarchy, type VoGroup } from './groups.ts';
import { merge, policy_keys, readPolicy, type Effective } from './policy.ts';
import { placeSession } from './sessions.ts';
import { no_site, parseSite, sitePolicy, type Site } from './site.ts';

const look_ms = 10 * second_ms;
/** A node whose systemd is slow comes up without waiting for it any longer. */
const first_ms = 5 * second_ms;
const firewall_look_ms = 60 * second_ms;

/** Keeps control groups, cells, firewall and sessions of this node as the VO's and the site's policies want them. */
export function createIsolationService(context: NodeContext): Service {
  return new IsolationService(context);
}

class IsolationService implements Service {
  readonly name = 'isolation';
  readonly #context: NodeContext;
  readonly #stopping = new AbortController();
  readonly #undo: (() => void)[] = [];
  #loop: Promise<void> = Promise.resolve();
  #hierarchy: Hierarchy = 'none';
  #site: Site = no_site;
  #siteSource: string | null = null;
  #group: VoGroup = { directory: '', fence: '', settings: {}, slice: '' };
  #firewall = '';
  #firewallSeen_ms = -Infinity;
  /** What the VO's group was last made from; empty: not at all. */
  #grouped = '';
  #told = new Set<string>();
  #failure = '';
  #siteFailure = '';

  constructor(context: NodeContext) {
    this.#context = context;
  }

  async start(): Promise<void> {
    const { ports, native, members, sessions, api } = this.#context;
    this.#hierarchy = await findHierarchy(ports);
    if (this.#hierarchy === 'none') this.#log.info('this node has no cgroup v2: jobs run without limits of processor, memory, processes and network');
    await this.#readSite();
    let applied = (): void => {};
    const first = new Promise<void>((resolve) => (applied = resolve));
    const bring = coalesce(() => this.#apply().finally(applied), (thrown) => this.#failed(thrown));
    this.#undo.push(
      // What cells must be like goes to the relay first of all, before any session: no job may start wider than its policy allows.
      native.relay.onConnect(() => {
        void this.#tellRelay().catch((thrown: unknown) => this.#failed(thrown));
        bring();
      }),
      members.onChange(bring),
      sessions.onOpen((session) => void placeSession(session, { vo: this.#context.vo, hierarchy: this.#hierarchy, ...ports, log: this.#log }, this.#stopping.signal)),
      api.register('node-limits', async () => this.#limits()),
    );
    // The groups are there before the first job can be.
    bring();
    const waiting = new AbortController();
    await Promise.race([first, ports.clock.sleep(first_ms, AbortSignal.any([waiting.signal, this.#stopping.signal])).catch(() => {})]);
    waiting.abort();
    this.#loop = this.#watch(bring);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    for (const undo of this.#undo.splice(0)) undo();
    await this.#loop;
  }

  status(): { up: boolean; detail: string } {
    const detail = [this.#siteFailure, this.#failure].filter((text) => text !== '').join('; ');
    return { up: detail === '', detail: detail === '' && this.#hierarchy === 'none' ? 'no cgroup v2 on this node: no limits' : detail };
  }

  get #log(): NodeContext['ports']['log'] {
    return this.#context.ports.log.child('isolation');
  }

  #failed(thrown: unknown): void {
    if (this.#stopping.signal.aborted) return;
    const reason = describe(thrown);
    if (reason !== this.#failure) this.#log.error('the VO is not limited as its policy wants it; trying again', { reason });
    this.#failure = reason;
  }

  /** The site's file may change at any time, and somebody may stop a unit of ours. */
  async #watch(bring: () => void): Promise<void> {
    const { clock } = this.#context.ports;
    while (!this.#stopping.signal.aborted) {
      await clock.sleep(look_ms, this.#stopping.signal).catch(() => {});
      if (this.#stopping.signal.aborted) return;
      await this.#readSite();
      bring();
    }
  }

  async #readSite(): Promise<void> {
    const { disk } = this.#context.ports;
    const path = `${this.#context.paths.etc}/site.json`;
    try {
      const source = (await disk.read(path))?.toString('utf8') ?? '';
      if (source === this.#siteSource) return;
      this.#siteSource = source;
      this.#site = source === '' ? no_site : parseSite(source);
      this.#siteFailure = '';
    } catch (thrown) {
      // The last one that could be read stays: a typing error must not lift a limit.
      this.#siteFailure = `${path}: ${describe(thrown)}`;
      this.#log.error("the site's policy is not used; the one before holds", { path, reason: describe(thrown) });
    }
  }

  effective(): Effective {
    const { vo, members } = this.#context;
    const told = (reason: string): void => {
      if (this.#told.has(reason)) return;
      this.#told.add(reason);
      this.#log.warn("a part of the VO's policy is not understood here", { reason });
    };
    return merge(readPolicy(members.policy(), told), sitePolicy(this.#site, vo));
  }

  /** Brings everything to what the policies say now. */
  async #apply(): Promise<void> {
    const { vo, ports } = this.#context;
    const effective = this.effective();
    const disks = this.#hierarchy === 'none' ? [] : await findDisks(ports);
    const wanted = JSON.stringify([effective.values, disks]);
    // Somebody may have stopped the unit; asking systemd each time would cost more than all the rest.
    const there = this.#group.directory === '' || this.#hierarchy === 'plain' || (await ports.disk.facts(this.#group.directory)) !== null;
    if (wanted !== this.#grouped || !there) {
      this.#group = await ensureGroup(this.#hierarchy, vo, effective, disks, ports, this.#stopping.signal);
      await this.#tellRelay();
      this.#grouped = wanted;
    }
    await this.#setFirewall();
    if (this.#failure !== '') this.#log.info('the VO is limited as its policy wants it', {});
    this.#failure = '';
  }

  async #tellRelay(): Promise<void> {
    const { vo, native } = this.#context;
    if (!native.relay.connected) return;
    const { values } = this.effective();
    const { directory, fence, settings } = this.#group;
    const memory_max = values['memory.max'].value === 'max' ? {} : { memory_max: Number(values['memory.max'].value) };
    const cells = { isolated: values.isolated.value === 'yes', untrusted: values.trust.value === 'untrusted', own_network: values.network.value === 'none', few_devices: values.devices.value === 'few' };
    await native.relay.request('vo-limits', { vo, cells, protect: values.protect.value, directory, fence, settings, ...memory_max }, { signal: this.#stopping.signal, timeout_ms: 10_000 });
  }

  async #setFirewall(): Promise<void> {
    const { vo, port, ports } = this.#context;
    const { slice } = this.#group;
    if (slice === '') return;
    const service_ports = Object.values(port_offset).map((offset) => port + offset);
    const rules = firewallRules(this.effective(), { vo, group: slice, service_ports });
    const now_ms = ports.clock.monotonic_ms();
    if (rules === this.#firewall && now_ms - this.#firewallSeen_ms < firewall_look_ms) return;
    this.#firewallSeen_ms = now_ms;
    // A match is bound to the group as it was: one that was made anew needs the rules anew, and so does somebody's 'nft flush ruleset'.
    if (rules === this.#firewall && (await this.#nft(['list', 'table', 'inet', 'xos'])).stdout.includes(slice)) return;
    const done = await this.#nft(['-f', '-'], rules);
    this.#firewall = done.exit_code === 0 ? rules : '';
    if (done.exit_code !== 0) throw new Error(`cannot set the firewall of VO '${vo}': nft: ${done.stderr.trim().slice(0, 300)}`);
    ports.log.child('isolation').info('firewall set', { vo, rules: rules.split('\n').length });
  }

  #nft(args: readonly string[], input?: string): ReturnType<NodeContext['ports']['spawn']['run']> {
    return this.#context.ports.spawn.run('nft', args, { timeout_ms: 60_000, signal: this.#stopping.signal, ...(input === undefined ? {} : { input }) });
  }

  #limits(): NodeLimits {
    const { values } = this.effective();
    return {
      node: this.#context.node, vo: this.#context.vo, enforced: this.#hierarchy !== 'none', group: this.#group.slice === '' ? null : this.#group.slice, problem: this.status().up ? '' : this.status().detail,
      limits: policy_keys.map((key) => ({ key, ...values[key] })),
    };
  }
}

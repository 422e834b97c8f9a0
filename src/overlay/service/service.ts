import type { OverlayStatus } from '../../api/operations/overlay.ts';
import { XosError, describe } from '../../core/errors.ts';
import type { Log } from '../../core/ports.ts';
import type { Service, ServiceStatus } from '../../core/service.ts';
import { Metrics, WireError, limits as core, type KnownPeers, type Peer } from '../core/index.ts';
import type { Values } from '../ads/index.ts';
import { collectAttributes, type Attributes } from './attributes.ts';
import { Bucket } from './bucket.ts';
import { Described } from './described.ts';
import { find, understand, type DynamicValues } from './find.ts';
import type { RunningOverlay } from './handle.ts';
import { Interests } from './interests.ts';
import { exposition } from './exposition.ts';
import { limits } from './limits.ts';
import { registerOperations } from './operations.ts';
import type { OverlayOptions } from './options.ts';
import { queryNodes } from './ops/query-nodes.ts';
import { makeParts, type Parts } from './parts.ts';
import { Store } from './store.ts';
import type { Topics } from './topics.ts';
import { joined, split } from './transport.ts';
import { VoFacts } from './vo-facts.ts';

/** The overlay of one node: its protocols over one UDP socket, and what programs and other services have of it. */
export class OverlayService implements Service, RunningOverlay {
  readonly name = 'overlay';
  readonly options: OverlayOptions;
  readonly metrics = new Metrics();
  readonly interests: Interests;
  described = new Described({});
  readonly #log: Log;
  readonly #undo: (() => void)[] = [];
  #stopping = new AbortController();
  #loops: Promise<void>[] = [];
  #parts: Parts | null = null;
  /** What systeminformation found; null until then. */
  #found: Attributes | null = null;
  #disk_free: number | null = null;
  readonly #changes: Bucket;

  constructor(options: OverlayOptions) {
    this.options = options;
    this.#log = options.context.ports.log.child('overlay');
    const { clock } = options.context.ports;
    this.interests = new Interests(clock);
    this.#changes = new Bucket(limits.describe_per_second, limits.describe_burst, clock.monotonic_ms());
  }

  async start(_signal: AbortSignal): Promise<void> {
    this.#stopping = new AbortController();
    const { context, facts } = this.options;
    const { clock, disk, datagrams } = context.ports;
    const store = new Store(disk, `${context.paths.state}/overlay`);
    const epoch = await store.nextEpoch(clock.now_ms());
    this.described = new Described(await store.loadAttributes());
    const parts = makeParts(this.options, this.metrics, store, epoch, this.#log, () => this.seeds(), () => this.#measured());
    const socket = await datagrams.bind(this.options.listen, context.port, (bytes, address, port) => parts.transport.received(bytes, address, port));
    parts.transport.use(socket);
    this.#parts = { ...parts, socket };
    this.#issue();
    this.#undo.push(context.members.onChange(() => this.#dropRefused()), new VoFacts(facts, context, parts.topics, this.#log).start(), ...registerOperations(this));
    this.#undo.push(parts.topics.listen(`${context.vo}/interest/+`, ({ topic, node, payload }) => { if (topic.endsWith(`/${node}`)) this.interests.heard(node, payload); }));
    context.provided.overlay = this;
    const { signal } = this.#stopping;
    // Others should hear at once what this node is, but need not wait for it long.
    const found = collectAttributes(context.ports, signal).catch(() => null);
    this.#loops = [this.#enter(found, signal), this.#describe(found, signal), this.#keepView(signal), this.#tellInterests(signal), this.#lookAtDisk(signal)];
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    for (const undo of this.#undo.splice(0)) undo();
    const { context } = this.options;
    if (context.provided.overlay === this) context.provided.overlay = null;
    const parts = this.#parts;
    this.#parts = null;
    if (parts !== null) {
      await this.#saveView(parts).catch((thrown: unknown) => this.#log.warn('the view of the overlay was not kept', { reason: describe(thrown) }));
      parts.host.stop();
      await parts.socket.close();
    }
    await Promise.all(this.#loops.splice(0));
  }

  status(): ServiceStatus {
    const { running, reason, known, links } = this.show();
    return { up: running, detail: running ? `${known} nodes known, ${links.length} links` : reason };
  }

  show(): OverlayStatus {
    const parts = this.#parts;
    const history = parts?.broadcast.history(0) ?? null;
    const links = (parts?.mesh.links(0) ?? []).flatMap((peer) => parts!.known.descriptor(peer)?.node ?? []);
    return {
      node: this.options.context.node, running: parts?.host.running ?? false, reason: parts?.host.running === true ? '' : 'looking for other nodes',
      known: Math.max(0, (parts?.known.size ?? 1) - 1), links, messages_kept: history?.messages ?? 0, bytes_kept: history?.bytes ?? 0,
      publishers: history?.size ?? 0, subscriptions: parts?.topics.subscriptions ?? 0, counters: this.metrics.all(),
    };
  }

  exposition(): string {
    return exposition(this.show());
  }

  /** @throws XosError XOS_UNAVAILABLE before the start and after the end */
  get topics(): Topics {
    return this.#need().topics;
  }

  get known(): KnownPeers {
    return this.#need().known;
  }

  get parts(): Parts {
    return this.#need();
  }

  /** What nodes do now, asked of each of them; who does not answer is not in the answer. */
  async loads(nodes: readonly string[], signal: AbortSignal): Promise<ReadonlyMap<string, DynamicValues>> {
    const source = this.options.context.provided.loads;
    if (source == null) throw new XosError('XOS_UNAVAILABLE', 'what the nodes do now cannot be asked: job management does not run on this node');
    return await source.loads(nodes, signal);
  }

  async query(query: string, count: number, signal: AbortSignal): Promise<readonly string[]> {
    return (await queryNodes(this, { query, count }, signal)).nodes.map(({ node }) => node);
  }

  /** For placement: nodes that fit a query of what changes slowly, at most `count`. */
  async find(query: string, count: number, signal: AbortSignal): Promise<readonly string[]> {
    const parts = this.#need();
    return (await find(parts, understand(parts, query).fixed, count, signal)).found.map(({ node }) => node);
  }

  knows(node: string): boolean {
    const peer = this.#parts?.known.find(node) ?? -1;
    return peer === 0 || (peer > 0 && !this.#parts!.membership.gone(0, peer));
  }

  wanted(channel: string): boolean {
    return this.interests.wanted(channel);
  }

  /** As this node; a message that cannot be sent is only counted: for events that others can also ask for. */
  tell(topic: string, payload: Buffer): void {
    const parts = this.#parts;
    if (parts === null) return;
    parts.topics.publish({ kind: 'node', node: this.options.context.node }, topic, payload).catch((thrown: unknown) => {
      this.metrics.add('topics.not_told');
      this.#log.debug('a message was not published', { topic, reason: describe(thrown) });
    });
  }

  tellInterests(): void {
    const { vo, node } = this.options.context;
    this.tell(`${vo}/interest/${node}`, Buffer.from(JSON.stringify(this.interests.own())));
  }

  #need(): Parts {
    if (this.#parts === null) throw new XosError('XOS_UNAVAILABLE', 'the overlay of this node does not run');
    return this.#parts;
  }

  /** A new descriptor, and the protocols are told when it says something else. */
  #issue(): void {
    const parts = this.#parts;
    if (parts === null) return;
    const [x, y, height, error] = parts.known.book.coordinates;
    parts.self.coordinates = { x: x!, y: y!, height: height!, error: error! };
    const metrics = this.described.names(this.options.context.ports.clock.monotonic_ms());
    parts.self.attributes = { ...this.#found, ...this.options.attributes, ...this.described.attributes, ...(metrics.length === 0 ? {} : { metrics }) };
    const encoded = parts.self.issue(this.options.context.ports.clock.now_ms());
    parts.known.setOwn(encoded);
    parts.transport.introduceAs(encoded);
    parts.host.changed();
    if (parts.host.running) parts.transport.announce(this.#near(parts).flatMap((peer) => parts.known.descriptor(peer)?.node ?? []));
  }

  /** Peers that are held for alive: those of the view and of the links. */
  #near(parts: Parts): readonly Peer[] {
    return [...new Set([...parts.mesh.links(0), ...[...parts.membership.view(0)].map(({ peer }) => peer)])];
  }

  #dropRefused(): void {
    const parts = this.#parts;
    if (parts === null) return;
    for (const { node, state } of this.options.context.members.nodes()) {
      const peer = state === 'admitted' ? -1 : parts.known.find(node);
      if (peer <= 0) continue;
      parts.host.gone(peer, 'left');
      parts.transport.forget(node);
    }
  }

  /** Says hello to nodes of the VO until the first one answers, and again whenever nobody is left. */
  async #enter(found: Promise<unknown>, signal: AbortSignal): Promise<void> {
    const { clock } = this.options.context.ports;
    const patience = new AbortController();
    await Promise.race([found, clock.sleep(limits.describe_wait_ms, patience.signal).catch(() => {})]);
    patience.abort();
    const view = (await this.#parts?.store.loadView()) ?? [];
    for (let pause_ms: number = limits.enter_wait_ms; !signal.aborted; pause_ms = Math.min(pause_ms * 2, 8 * limits.enter_again_ms)) {
      const parts = this.#parts;
      if (parts === null) return;
      const lonely = !parts.host.running || parts.mesh.links(0).length === 0;
      const others = lonely ? this.#hello(parts, view) : 0;
      if (!parts.host.running && (others === 0 || pause_ms > limits.enter_wait_ms || parts.known.size > 1)) parts.host.start(this.seeds());
      if (!lonely) pause_ms = limits.enter_again_ms;
      await clock.sleep(pause_ms, signal).catch(() => {});
      if (!parts.host.running && parts.known.size > 1) parts.host.start(this.seeds());
    }
  }

  /** Peers whose descriptors came so far. */
  seeds(): readonly Peer[] {
    const parts = this.#need();
    return parts.random.shuffle([...parts.known.all()].map(({ peer }) => peer)).slice(0, limits.enter_seeds_max);
  }

  #hello(parts: Parts, view: readonly { readonly node: string; readonly address: string }[]): number {
    const { context } = this.options;
    const admitted = context.members.admitted().filter(({ node }) => node !== context.node);
    const names = new Set(admitted.map(({ node }) => node));
    // Of the view most: those few were there lately; the membership document may hold ten thousand. But not all: they may be dead, or somewhere else now.
    const lately = parts.random.shuffle(view.filter(({ node }) => names.has(node))).slice(0, limits.enter_view_seeds_max);
    const others = parts.random.shuffle(admitted.map(({ node, address, port }) => ({ node, address: joined(address, port) })));
    const chosen = new Map([...lately, ...others].slice(0, limits.enter_seeds_max).map((each) => [each.node, each.address]));
    for (const address of chosen.values()) {
      const [host, port] = split(address);
      if (port !== 0) parts.transport.hello(host, port);
    }
    return admitted.length;
  }

  async #describe(collected: Promise<Attributes | null>, signal: AbortSignal): Promise<void> {
    const { clock } = this.options.context.ports;
    this.#found = await collected;
    while (!signal.aborted) {
      this.#issue();
      await clock.sleep(core.descriptor_refresh_ms, signal).catch(() => {});
    }
  }

  /** Throws XOS_BUSY, XOS_BAD_ARGUMENT. */
  async describeAgain(): Promise<void> {
    if (!this.#changes.take(this.options.context.ports.clock.monotonic_ms())) throw new XosError('XOS_BUSY', 'what this node is has changed too often just now; try again in some seconds');
    const { store } = this.#need();
    try {
      this.#issue();
    } catch (cause) {
      if (!(cause instanceof WireError)) throw cause;
      throw new XosError('XOS_BAD_ARGUMENT', `cannot describe this node: with its certificate it would say more than ${core.descriptor_bytes_max} bytes; say less`, {}, { cause });
    }
    await store.saveAttributes(this.described.attributes);
  }

  /** What is reported to directories beside what job management says. */
  #measured(): Values {
    return { ...(this.#disk_free === null ? {} : { disk_free: this.#disk_free }), ...this.described.values(this.options.context.ports.clock.monotonic_ms()) };
  }

  async #lookAtDisk(signal: AbortSignal): Promise<void> {
    const { context } = this.options;
    const { clock, disk } = context.ports;
    while (!signal.aborted) {
      this.#disk_free = await disk.free(context.paths.state).catch(() => null);
      await clock.sleep(limits.disk_free_ms, signal).catch(() => {});
    }
  }

  async #keepView(signal: AbortSignal): Promise<void> {
    const { clock } = this.options.context.ports;
    while (!signal.aborted) {
      await clock.sleep(limits.view_save_ms, signal).catch(() => {});
      const parts = this.#parts;
      if (parts !== null && !signal.aborted) await this.#saveView(parts).catch((thrown: unknown) => this.#log.warn('the view of the overlay was not kept', { reason: describe(thrown) }));
    }
  }

  async #saveView(parts: Parts): Promise<void> {
    const peers = [...parts.membership.view(0)].map(({ peer }) => peer).concat([...parts.membership.buried(0)]);
    const seen = peers.flatMap((peer) => parts.known.descriptor(peer) ?? []).flatMap(({ node, addresses }) => (addresses[0] === undefined ? [] : [{ node, address: addresses[0] }]));
    // An empty view is no view worth keeping: after an outage the old one is the way back.
    if (seen.length > 0) await parts.store.saveView(seen);
  }

  async #tellInterests(signal: AbortSignal): Promise<void> {
    const { clock } = this.options.context.ports;
    while (!signal.aborted) {
      if (this.interests.own().length > 0) this.tellInterests();
      await clock.sleep(limits.interest_again_ms, signal).catch(() => {});
    }
  }
}

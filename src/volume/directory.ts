import { join } from 'node:path';
import type { NodeContext } from '../daemon/context.ts';
import { XosError } from '../core/errors.ts';
import { Listeners } from '../core/signal.ts';
import { LmdbLog, Replica, type OrderedLog } from '../group/index.ts';
import type { MrcMap, MrcReport, OsdKeys, OsdReport, Servers, WatchRequest } from '../proto/xos/volume/v1/volume.ts';
import { limits } from './limits.ts';
import { goneMounts, osdsForMrc, serversForMount, versionOf, type DirView, type MrcHeard, type OsdHeard } from './map.ts';
import { dirMachine, pairOf, type DirCommand, type DirState } from './state.ts';

/** The DIR itself, on the node that has the role: hears the servers, keeps their keys, tells who is where. */
export class Directory {
  readonly #context: NodeContext;
  readonly #replica: Replica<DirState, DirCommand, never>;
  readonly #osds = new Map<string, OsdHeard>();
  readonly #mrcs = new Map<string, MrcHeard>();
  readonly #mounts = new Map<string, number>();
  readonly #changes = new Listeners<[]>();
  readonly #undo: (() => void)[] = [];
  readonly #calls = { osd: 0, mrc: 0, watch: 0 };
  #version = '';

  constructor(context: NodeContext, log?: OrderedLog) {
    this.#context = context;
    this.#replica = new Replica(dirMachine, log ?? new LmdbLog(join(context.paths.state, 'dir')), { log: context.ports.log.child('dir') });
  }

  async start(): Promise<void> {
    await this.#context.ports.disk.makeDirectory(join(this.#context.paths.state, 'dir'), 0o700);
    await this.#replica.start();
    this.#undo.push(this.#context.members.onChange(() => void this.#membersChanged()));
    await this.#membersChanged();
  }

  async stop(): Promise<void> {
    for (const undo of this.#undo.splice(0)) undo();
    await this.#replica.stop();
    this.#changes.emit();
  }

  async registerOsd(report: OsdReport, node: string): Promise<OsdKeys> {
    ++this.#calls.osd;
    this.#demand(node, 'osd', Object.keys(this.#replica.state.osds).length);
    const { serving, total_bytes, free_bytes, holds } = report;
    this.#osds.set(node, { at_ms: this.#now(), serving, total_bytes, free_bytes, holds });
    if (!(node in this.#replica.state.osds)) await this.#replica.propose({ kind: 'osd-add', osd: node, at_ms: this.#context.ports.clock.now_ms() });
    const mrcs = Object.keys(this.#replica.state.mrcs);
    for (const mrc of mrcs) await this.#ensureKey(mrc, node);
    this.#tell();
    const { keys } = this.#replica.state;
    return { keys: mrcs.flatMap((mrc) => (keys[pairOf(mrc, node)] === undefined ? [] : [{ mrc, key: Buffer.from(keys[pairOf(mrc, node)] ?? '', 'hex') }])) };
  }

  async registerMrc(report: MrcReport, node: string): Promise<MrcMap> {
    ++this.#calls.mrc;
    this.#demand(node, 'mrc', Object.keys(this.#replica.state.mrcs).length);
    this.#mrcs.set(node, { at_ms: this.#now(), serving: report.serving });
    if (!(node in this.#replica.state.mrcs)) await this.#replica.propose({ kind: 'mrc-add', mrc: node, at_ms: this.#context.ports.clock.now_ms() });
    for (const osd of Object.keys(this.#replica.state.osds)) await this.#ensureKey(node, osd);
    this.#tell();
    const view = this.#view();
    return { osds: osdsForMrc(view, node).map((osd) => ({ ...osd, key: Buffer.from(osd.key, 'hex') })), gone: [...goneMounts(view)] };
  }

  /** Answers at once when the caller's version is old, else on the next change or at the end of its turn. */
  async watch(request: WatchRequest, node: string, signal: AbortSignal): Promise<Servers> {
    ++this.#calls.watch;
    this.#mounts.set(node, this.#now());
    this.#tell();
    const turn = this.#context.ports.clock.deadline(Math.min(request.turn_ms, limits.watch_turn_ms), signal);
    if (request.version === this.#version) {
      await new Promise<void>((resolve) => {
        const done = (): void => {
          undo();
          turn.removeEventListener('abort', done);
          resolve();
        };
        const undo = this.#changes.add(done);
        turn.addEventListener('abort', done, { once: true });
        if (turn.aborted) done();
      });
    }
    signal.throwIfAborted();
    this.#mounts.set(node, this.#now());
    return this.servers();
  }

  servers(): Servers {
    const { mrc, osds } = serversForMount(this.#view());
    return { version: this.#version, mrc: mrc ?? undefined, osds: osds.map((osd) => ({ ...osd, key: Buffer.alloc(0) })) };
  }

  /** Servers fall silent without anybody's call: looked at each second or so. */
  tick(): void {
    this.#tell();
  }

  detail(): string {
    const { osds, mrc } = serversForMount(this.#view());
    return `${osds.filter(({ up }) => up).length} of ${osds.length} OSDs up, MRC ${mrc === null ? 'unknown' : `${mrc.node} ${mrc.up ? 'up' : 'down'}`}`;
  }

  /** In Prometheus' text format. */
  metrics(): string {
    const { osds, mrc } = serversForMount(this.#view());
    const gone = goneMounts(this.#view()).length;
    const gauges: readonly (readonly [name: string, help: string, value: number])[] = [
      ['xos_dir_osds_up', 'OSDs that take part.', osds.filter(({ up }) => up).length],
      ['xos_dir_osds', 'OSDs of the VO.', osds.length],
      ['xos_dir_mrc_up', '1 when there is a metadata server.', mrc?.up === true ? 1 : 0],
      ['xos_dir_mounts', 'Mounts that look for servers here.', this.#mounts.size - gone],
      ['xos_dir_keys', 'Keys of pairs of metadata and object servers.', Object.keys(this.#replica.state.keys).length],
    ];
    return `${gauges.map(([name, help, value]) => `# HELP ${name} ${help}\n# TYPE ${name} gauge\n${name} ${value}\n`).join('')}# HELP xos_dir_calls_total Calls by kind.\n# TYPE xos_dir_calls_total counter\n${
      Object.entries(this.#calls).map(([kind, count]) => `xos_dir_calls_total{kind="${kind}"} ${count}\n`).join('')}`;
  }

  async #ensureKey(mrc: string, osd: string): Promise<void> {
    if (pairOf(mrc, osd) in this.#replica.state.keys) return;
    await this.#replica.propose({ kind: 'key-add', mrc, osd, key: this.#context.ports.random.bytes(limits.key_bytes).toString('hex') });
  }

  #demand(node: string, role: 'osd' | 'mrc', count: number): void {
    const record = this.#context.members.node(node);
    if (record === null || !record.roles.includes(role)) {
      throw new XosError('XOS_DENIED', `cannot register node '${node}' as ${role}: the VO's registry does not give it that role`, { node, role });
    }
    if (count > limits.servers_max) throw new XosError('XOS_LIMIT', `cannot register node '${node}' as ${role}: there are ${count} already`, { node, role });
  }

  /** A node that was put out of the VO is no server any more. */
  async #membersChanged(): Promise<void> {
    for (const { node, state } of this.#context.members.nodes()) {
      if (state !== 'revoked' || !(node in this.#replica.state.osds || node in this.#replica.state.mrcs)) continue;
      await this.#replica.propose({ kind: 'server-remove', node }).catch((thrown: unknown) =>
        this.#context.ports.log.warn('cannot remove the servers of a node', { node, reason: String(thrown) }));
    }
    this.#tell();
  }

  #tell(): void {
    // What a mount does not act on is not a change: the free space moves all the time.
    const { mrc, osds } = serversForMount(this.#view());
    const version = versionOf({ mrc, osds: osds.map(({ osd, address, port, up }) => ({ osd, address, port, up })) });
    if (version === this.#version) return;
    this.#version = version;
    this.#changes.emit();
  }

  #view(): DirView {
    return {
      state: this.#replica.state, osds: this.#osds, mrcs: this.#mrcs, mounts: this.#mounts,
      nodeOf: (node) => this.#context.members.node(node), now_ms: this.#now(),
    };
  }

  #now(): number {
    return this.#context.ports.clock.monotonic_ms();
  }
}

import type { NodeContext } from '../daemon/context.ts';
import { describe } from '../core/errors.ts';
import type { NodeRecord, NodeRole } from '../core/model.ts';
import { JobServiceDefinition, type Load } from '../proto/xos/job/v1/job.ts';
import { limits } from './limits.ts';
import { measure, parseCounters, type EndedHere, type LoadSample } from './load.ts';
import { loadFromMessage, loadToMessage } from './messages.ts';
import type { LoadReport, ServiceState, Usage } from './model.ts';
import { Directory } from './directory.ts';
import { freeCpus, rank, type Candidate, type KnownNode, type NodeSelector } from './placement.ts';

interface Heard {
  readonly report: LoadReport;
  readonly services: readonly ServiceState[];
  readonly at_ms: number;
}

/** What is known of a node of the VO, for people. */
export interface NodeView extends KnownNode {
  readonly record: NodeRecord;
  readonly services: readonly ServiceState[];
  /** In this node's directory: its load is followed, and jobs may go there. */
  readonly followed: boolean;
}

/** What a node answers when it is asked what it does now. */
export interface LoadNow {
  readonly load: number;
  readonly running: number;
  readonly free_cpus: number;
  readonly memory_free: number;
}

/**
 * Where jobs may go: the overlay chooses some nodes that can run them (RSS), those are the directory (ADS), and with each of them load reports
 * are exchanged every second. A node that has just been heard is not called in the same second, so a pair costs about one call a second, and
 * a node no more than its directory is long, however large the VO is.
 */
export class GridSelector implements NodeSelector {
  readonly #context: NodeContext;
  readonly #directory: Directory;
  readonly #heard = new Map<string, Heard>();
  #sample: LoadSample | null = null;
  #ended: EndedHere[] = [];

  constructor(context: NodeContext) {
    this.#context = context;
    this.#directory = new Directory(context);
  }

  candidates(): readonly Candidate[] {
    return rank(this.view().filter(({ followed }) => followed), this.#context.node);
  }

  /** Asks the overlay anew when it is time; never rejects. */
  refresh(signal: AbortSignal): Promise<void> {
    return this.#directory.refresh(signal);
  }

  /** What nodes do now, asked of each that was not heard within the last second. */
  async loads(nodes: readonly string[], signal: AbortSignal): Promise<ReadonlyMap<string, LoadNow>> {
    const found = new Map<string, LoadNow>();
    for (let from = 0; from < nodes.length; from += limits.loads_parallel_max) {
      await Promise.all(nodes.slice(from, from + limits.loads_parallel_max).map(async (node) => {
        const report = await this.#reportOf(node, signal);
        if (report !== null) found.set(node, { load: report.load, running: report.running, free_cpus: Math.max(0, freeCpus(report)), memory_free: report.memory_free_bytes });
      }));
    }
    return found;
  }

  /** What this node does, as of its last measurement. */
  now(): LoadNow | null {
    const report = this.#heard.get(this.#context.node)?.report ?? null;
    return report === null ? null : { load: report.load, running: report.running, free_cpus: Math.max(0, freeCpus(report)), memory_free: report.memory_free_bytes };
  }

  async #reportOf(node: string, signal: AbortSignal): Promise<LoadReport | null> {
    const known = this.#heard.get(node);
    const now_ms = this.#context.ports.clock.monotonic_ms();
    if (known !== undefined && now_ms - known.at_ms < limits.report_interval_ms * 1.5) return known.report;
    if (node === this.#context.node) return known?.report ?? null;
    try {
      const answer = await this.#context.rpc.client(node, JobServiceDefinition).report(this.#own(), { deadline_ms: limits.report_deadline_ms, signal });
      this.#hear(answer, node);
      return loadFromMessage(answer, node)?.report ?? null;
    } catch (thrown) {
      signal.throwIfAborted();
      this.#context.ports.log.debug('a node did not tell its load', { node, reason: describe(thrown) });
      return null;
    }
  }

  /** All nodes of the VO; one that is unknown to it is not among them, whatever it reports. */
  view(): readonly NodeView[] {
    const now_ms = this.#context.ports.clock.monotonic_ms();
    const followed = this.#directory.nodes();
    return this.#context.members.nodes().map((record) => {
      const heard = this.#heard.get(record.node);
      return {
        node: record.node, record, admitted: record.state === 'admitted', runs_jobs: record.roles.includes('relay'),
        report: heard?.report ?? null, age_ms: heard === undefined ? 0 : now_ms - heard.at_ms, services: heard?.services ?? [],
        followed: followed.has(record.node),
      };
    });
  }

  /** Takes a report that a peer sent, and answers with our own. */
  exchange(message: Load, peer: string): Load {
    this.#hear(message, peer);
    return this.#own();
  }

  /** A job ended on this node. */
  ended(job: EndedHere): void {
    if (this.#ended.length < limits.jobs_max) this.#ended.push(job);
  }

  /** Measures this node and remembers the result as its report. */
  async measure(cells: readonly Usage[]): Promise<void> {
    const { disk, clock } = this.#context.ports;
    const [stat, meminfo] = await Promise.all([disk.read('/proc/stat'), disk.read('/proc/meminfo')]);
    const counters = parseCounters(String(stat ?? ''), String(meminfo ?? ''));
    const now_ms = clock.monotonic_ms();
    const { sample, report } = measure(this.#context.node, this.#sample, counters, cells, this.#ended, now_ms);
    this.#ended = [];
    this.#sample = sample;
    this.#heard.set(this.#context.node, { report, services: servicesOf(this.#context), at_ms: now_ms });
  }

  /** Tells every peer of the directory; ends when all have answered or their time is over. Never rejects: a silent peer shows by its age. */
  async report(signal: AbortSignal): Promise<void> {
    const now_ms = this.#context.ports.clock.monotonic_ms();
    const followed = this.#directory.nodes();
    const due = this.#context.members.admitted().filter(({ node }) =>
      node !== this.#context.node && followed.has(node) && now_ms - (this.#heard.get(node)?.at_ms ?? Number.NEGATIVE_INFINITY) > limits.report_interval_ms * 0.9);
    await Promise.all(due.map(async ({ node }) => {
      try {
        const client = this.#context.rpc.client(node, JobServiceDefinition);
        this.#hear(await client.report(this.#own(), { deadline_ms: limits.report_deadline_ms, signal }), node);
      } catch (thrown) {
        this.#context.ports.log.debug('a node did not take our load report', { node, reason: describe(thrown) });
      }
    }));
  }

  #hear(message: Load, peer: string): void {
    const heard = loadFromMessage(message, peer);
    if (heard !== null) {
      this.#heard.set(peer, { ...heard, at_ms: this.#context.ports.clock.monotonic_ms() });
      if (this.#heard.size > limits.heard_max) this.#forget();
    } else this.#context.ports.log.warn('a node sent a load report that cannot be', { node: peer });
  }

  /** Others may follow us whom we do not follow: of those only the last ones are remembered. */
  #forget(): void {
    const followed = this.#directory.nodes();
    const others = [...this.#heard].filter(([node]) => !followed.has(node)).sort(([, a], [, b]) => a.at_ms - b.at_ms);
    for (const [node] of others.slice(0, Math.ceil(others.length / 2))) this.#heard.delete(node);
  }

  #own(): Load {
    const own = this.#heard.get(this.#context.node);
    const empty = { node: this.#context.node, cpus: 1, running: 0, load: 1, memory_free_bytes: 0, memory_total_bytes: 0 };
    return loadToMessage(own?.report ?? empty, servicesOf(this.#context));
  }
}

/** The services that this node's roles ask for, and whether each is up. */
export function servicesOf(context: Pick<NodeContext, 'roles' | 'native' | 'members'>): readonly ServiceState[] {
  return context.roles.map((role) => {
    const native = nativeOf(context.native, role);
    if (native !== null) return { name: role, up: native.connected, detail: native.reason };
    if (role === 'registry') return { name: role, up: context.members.connected(), detail: context.members.connected() ? '' : 'no connection to the registry' };
    return { name: role, up: true, detail: '' };
  });
}

function nativeOf(native: NodeContext['native'], role: NodeRole) {
  switch (role) {
    case 'relay': return native.relay;
    case 'osd': return native.osd;
    case 'mrc': return native.mrc;
    case 'mount': return native.mount;
    default: return null;
  }
}

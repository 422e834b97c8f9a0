import type { NodeContext } from '../daemon/context.ts';
import { describe } from '../core/errors.ts';
import type { NodeRecord, NodeRole } from '../core/model.ts';
import { JobServiceDefinition, type Load } from '../proto/xos/job/v1/job.ts';
import { limits } from './limits.ts';
import { measure, parseCounters, type EndedHere, type LoadSample } from './load.ts';
import { loadFromMessage, loadToMessage } from './messages.ts';
import type { LoadReport, ServiceState, Usage } from './model.ts';
import { rank, type Candidate, type KnownNode, type NodeSelector } from './placement.ts';

interface Heard {
  readonly report: LoadReport;
  readonly services: readonly ServiceState[];
  readonly at_ms: number;
}

/** What is known of a node of the VO, for people. */
export interface NodeView extends KnownNode {
  readonly record: NodeRecord;
  readonly services: readonly ServiceState[];
}

/**
 * Knows the load of all nodes of the VO: measures this one and exchanges reports with the others. A node that has just been heard
 * is not called in the same second, so a pair of nodes costs about one call a second.
 */
export class VoSelector implements NodeSelector {
  readonly #context: NodeContext;
  readonly #heard = new Map<string, Heard>();
  #sample: LoadSample | null = null;
  #ended: EndedHere[] = [];

  constructor(context: NodeContext) {
    this.#context = context;
  }

  candidates(): readonly Candidate[] {
    return rank(this.view(), this.#context.node);
  }

  /** All nodes of the VO; one that is unknown to it is not among them, whatever it reports. */
  view(): readonly NodeView[] {
    const now_ms = this.#context.ports.clock.monotonic_ms();
    return this.#context.members.nodes().map((record) => {
      const heard = this.#heard.get(record.node);
      return {
        node: record.node, record, admitted: record.state === 'admitted', runs_jobs: record.roles.includes('relay'),
        report: heard?.report ?? null, age_ms: heard === undefined ? 0 : now_ms - heard.at_ms, services: heard?.services ?? [],
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

  /** Tells every admitted peer; ends when all have answered or their time is over. Never rejects: a silent peer shows by its age. */
  async report(signal: AbortSignal): Promise<void> {
    const now_ms = this.#context.ports.clock.monotonic_ms();
    const due = this.#context.members.admitted().filter(({ node }) =>
      node !== this.#context.node && now_ms - (this.#heard.get(node)?.at_ms ?? Number.NEGATIVE_INFINITY) > limits.report_interval_ms * 0.9);
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
    if (heard !== null) this.#heard.set(peer, { ...heard, at_ms: this.#context.ports.clock.monotonic_ms() });
    else this.#context.ports.log.warn('a node sent a load report that cannot be', { node: peer });
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

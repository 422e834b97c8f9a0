import type { NodeContext } from '../daemon/context.ts';
import { describe } from '../core/errors.ts';
import type { Service, ServiceStatus } from '../core/service.ts';
import { JobServiceDefinition } from '../proto/xos/job/v1/job.ts';
import type { Jobs } from './jobs.ts';
import { limits } from './limits.ts';
import { GridSelector } from './monitor.ts';
import { forwardHere } from './ops/forward.ts';
import { listHere, listJobs } from './ops/list-jobs.ts';
import { chooseNode } from './ops/choose-node.ts';
import { listNodes } from './ops/list-nodes.ts';
import { signalHere, signalJob } from './ops/signal-job.ts';
import { waitHere, waitJob } from './ops/wait-job.ts';
import { placeJob } from './ops/where-job.ts';
import { RelayLink } from './relay-link.ts';
import { tellJob } from './tell-job.ts';
import { badArgument } from './errors.ts';

/**
 * Job management of one node. What it knows is soft: the job table is the relay's, loads are a second old, so a restart of xosd loses
 * nothing.
 */
export class JobService implements Service {
  readonly name = 'job';
  readonly jobs: Jobs;
  readonly #undo: (() => void)[] = [];
  #stopping = new AbortController();
  #rounds: Promise<void> | null = null;

  constructor(context: NodeContext) {
    this.jobs = { context, link: new RelayLink(context), selector: new GridSelector(context) };
    // Once: the one gRPC server of xosd has no way to take a service away, and this object lives as long as it.
    const { jobs } = this;
    context.rpc.serve(JobServiceDefinition, {
      report: async (load, call) => jobs.selector.exchange(load, call.peer?.node ?? ''),
      list: (request, call) => listHere(jobs, request, call.signal),
      signal: (request, call) => signalHere(jobs, request, call.signal),
      wait: (request, call) => waitHere(jobs, request, call.signal),
      forward: (request, call) => forwardHere(jobs, request, call.signal),
    });
  }

  async start(_signal: AbortSignal): Promise<void> {
    this.#stopping = new AbortController();
    const { context, link, selector } = this.jobs;
    this.#undo.push(...registerOperations(this.jobs));
    this.#undo.push(context.native.relay.onConnect(() => void this.#push()));
    this.#undo.push(context.members.onChange(() => this.#membersChanged()));
    this.#undo.push(link.onChange(({ id, state, node, cpu_seconds }) => {
      if (state === 'ended' && node === context.node && cpu_seconds !== null) selector.ended({ job: id, cpu_seconds });
    }));
    context.provided.loads = selector;
    this.#undo.push(link.onChange((job) => tellJob(context, job)));
    link.start();
    await selector.measure([]);
    this.#rounds = this.#run(this.#stopping.signal);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    for (const undo of this.#undo.splice(0)) undo();
    if (this.jobs.context.provided.loads === this.jobs.selector) this.jobs.context.provided.loads = null;
    this.jobs.link.stop();
    await this.#rounds;
    this.#rounds = null;
  }

  status(): ServiceStatus {
    const eligible = this.jobs.selector.candidates().filter((each) => each.eligible).length;
    return { up: true, detail: `${this.jobs.link.table.size} jobs, ${eligible} nodes can take one` };
  }

  /** Measures, pushes and reports, each second, until stopped. A round that fails is told and the next one tries again. */
  async #run(signal: AbortSignal): Promise<void> {
    const { context, link, selector } = this.jobs;
    let told = '';
    let refreshing = Promise.resolve();
    while (!signal.aborted) {
      const round = context.ports.clock.deadline(limits.report_deadline_ms * 2, signal);
      try {
        // A slow answer of the overlay must not hold up the reports.
        refreshing = selector.refresh(signal);
        await selector.measure(await link.cells(round));
        await this.#push();
        await selector.report(round);
        told = '';
      } catch (thrown) {
        const reason = describe(thrown);
        if (!signal.aborted && reason !== told) context.ports.log.warn('a round of load reports failed; the next one tries again', { reason });
        told = reason;
      }
      link.table.prune(context.ports.clock.now_ms());
      await context.ports.clock.sleep(limits.report_interval_ms, signal).catch(() => undefined);
    }
    await refreshing;
  }

  async #push(): Promise<void> {
    const { context, link, selector } = this.jobs;
    try {
      await link.pushPlacement(selector.candidates(), this.#stopping.signal);
    } catch (thrown) {
      if (!this.#stopping.signal.aborted) context.ports.log.warn('the relay did not take the placement table', { reason: describe(thrown) });
    }
  }

  /** A node that is out of the VO takes its jobs with it; the table is pushed at once so that it gets no new ones. */
  #membersChanged(): void {
    const { context, link } = this.jobs;
    for (const record of context.members.nodes()) {
      if (record.state === 'revoked') link.apply({ kind: 'node-gone', node: record.node, reason: `node '${record.node}' was removed from the VO` });
    }
    void this.#push();
  }
}

/** The job service of a node; listed in src/daemon/services.ts. */
export const createJobService = (context: NodeContext): JobService => new JobService(context);

function registerOperations(jobs: Jobs): (() => void)[] {
  const { api } = jobs.context;
  return [
    api.register('job-list', (caller, request, signal) => listJobs(jobs, caller, { all: request.all === true, ended: request.ended === true }, signal)),
    api.register('job-signal', async (caller, request, signal) =>
      signalJob(jobs, caller, { job: name(request.job), signal: Number(request.signal) }, signal)),
    api.register('job-wait', async (caller, request, signal) =>
      waitJob(jobs, caller, { job: name(request.job), turn_ms: Number(request.turn_ms) || 0 }, signal)),
    api.register('job-place', async () => placeJob(jobs)),
    api.register('job-choose', async (_caller, request, signal) => chooseNode(jobs, String(request.where ?? ''), signal)),
    api.register('node-states', async () => listNodes(jobs)),
  ];
}

function name(value: unknown): string {
  if (typeof value === 'string' && value.length > 0 && value.length <= 100) return value;
  throw badArgument('a job must be named by its id, for instance n1-42, or by the process id of its proxy');
}

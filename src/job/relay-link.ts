import type { NodeContext } from '../daemon/context.ts';
import { describe } from '../core/errors.ts';
import { Listeners, coalesce } from '../core/signal.ts';
import { JobTable, type JobEvent } from './job-table.ts';
import { limits } from './limits.ts';
import { isFinal, type Job, type Usage } from './model.ts';
import type { Candidate } from './placement.ts';
import { readEvent, readJobs, readUsages } from './relay-messages.ts';

const job_events = ['job-started', 'job-state', 'job-ended', 'job-lost', 'job-kept'] as const;

/** The connection to this node's `xos-relayd`: keeps the job table in step with it and pushes the placement table. */
export class RelayLink {
  readonly table = new JobTable();
  readonly #context: NodeContext;
  readonly #changed = new Listeners<[job: Job]>();
  readonly #undo: (() => void)[] = [];
  readonly #resync: () => void;
  /** Jobs of which events came since the last resync began. */
  #newer = new Set<string>();

  constructor(context: NodeContext) {
    this.#context = context;
    this.#resync = coalesce(async () => {
      if (!context.native.relay.connected) return;
      const newer = this.#newer = new Set<string>();
      this.apply({ kind: 'resync', jobs: await this.#readAll(), newer });
    }, (thrown) => context.ports.log.warn("cannot read the relay's jobs; the next event asks again", { reason: describe(thrown) }));
  }

  start(): void {
    const { relay } = this.#context.native;
    for (const name of job_events) this.#undo.push(relay.onEvent(name, (event) => this.#event(name, event)));
    this.#undo.push(relay.onConnect(this.#resync));
  }

  stop(): void {
    for (const undo of this.#undo.splice(0)) undo();
  }

  apply(event: JobEvent): void {
    const { changed, resync } = this.table.apply(event, this.#context.ports.clock.now_ms());
    for (const job of changed) this.#changed.emit(job);
    if (resync) this.#resync();
  }

  onChange(listener: (job: Job) => void): () => void {
    return this.#changed.add(listener);
  }

  /** What runs on this node, by the relay's word; empty when the relay is away. */
  async cells(signal: AbortSignal): Promise<readonly Usage[]> {
    const { relay } = this.#context.native;
    return relay.connected ? readUsages(await relay.request('cells', {}, { signal })) : [];
  }

  async pushPlacement(candidates: readonly Candidate[], signal: AbortSignal): Promise<void> {
    const { relay } = this.#context.native;
    if (!relay.connected) return;
    // The relay takes `running` from `cpus`, and `load` only to break a draw: what holds a CPU is in `running`, whatever it is.
    const nodes = candidates.map(({ reason: _reason, ...row }) => ({ ...row, running: row.running + row.load }));
    await relay.request('placement', { nodes }, { signal });
  }

  /**
   * Resolves when the job is final, with the job; at the end of `signal` with the job as it is then. Null when the table does not (or
   * no longer) have it.
   */
  async waitFinal(id: string, signal: AbortSignal): Promise<Job | null> {
    const job = this.table.get(id);
    if (job === null || isFinal(job.state) || signal.aborted) return job;
    return await new Promise((resolve) => {
      const done = (): void => {
        undo();
        signal.removeEventListener('abort', done);
        resolve(this.table.get(id));
      };
      const undo = this.#changed.add((changed) => {
        if (changed.id === id && isFinal(changed.state)) done();
      });
      signal.addEventListener('abort', done, { once: true });
    });
  }

  /** All jobs of the relay, page by page: a thousand of them need not fit one line. */
  async #readAll(): Promise<readonly Job[]> {
    const jobs: Job[] = [];
    for (let after = 0; ;) {
      const answer = await this.#context.native.relay.request<{ next?: unknown }>('jobs', { after, limit: limits.list_portion });
      jobs.push(...readJobs(answer));
      if (typeof answer.next !== 'number' || answer.next <= after) return jobs;
      after = answer.next;
    }
  }

  #event(name: string, fields: unknown): void {
    const event = readEvent(name, fields);
    if (event === null) this.#context.ports.log.warn('the relay sent an event that is not understood', { event: name });
    else {
      if ('id' in event) this.#newer.add(event.id);
      if (event.kind === 'started') this.#newer.add(event.job.id);
      this.apply(event);
    }
  }
}

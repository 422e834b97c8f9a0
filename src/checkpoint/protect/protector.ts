import { describe, hasCode } from '../../core/errors.ts';
import { hour_ms } from '../../core/units.ts';
import type { NodeContext } from '../../daemon/context.ts';
import { limits } from '../limits.ts';
import { manifest_name, parseManifest } from '../manifest.ts';
import { checkpointsOf } from '../names.ts';
import { nextInterval } from './interval.ts';
import { nextKeptName, orphans, readKeptName, superseded } from './kept.ts';

/** A protected job of this home, as the relay tells it. */
interface Guarded {
  readonly id: string;
  readonly name: string;
  readonly user: string;
  readonly uid: number;
  /** 0: the interval is found. */
  readonly protect_s: number;
  state: string;
  /** Of its last whole checkpoint; empty and 0 before the first. */
  kept: string;
  kept_ms: number;
  /** The last number that a checkpoint of it was begun with, as far as is known. */
  used: number;
  readonly over: AbortController;
}

type Fields = Readonly<Record<string, unknown>>;
const text = (value: unknown): string => (typeof value === 'string' ? value : '');
const count = (value: unknown): number => (typeof value === 'number' && Number.isFinite(value) ? Math.max(0, value) : 0);

/**
 * Takes checkpoints of the protected jobs whose home is here, keeps the last whole one of each and removes the others. Which jobs there are, and which checkpoint
 * counts, the relay knows: it is what goes on from it when the job's node is lost, so a restart of xosd loses nothing.
 */
export class Protector {
  readonly #context: NodeContext;
  readonly #jobs = new Map<string, Guarded>();
  readonly #undo: (() => void)[] = [];
  readonly #work = new Set<Promise<void>>();
  #stopping = new AbortController();
  /** Whether the relay's jobs were read: before, one that is not known may live. */
  #complete = false;
  /** Jobs that began since the relay was asked for its jobs: they are newer than its answer. */
  #newer = new Set<string>();

  constructor(context: NodeContext) {
    this.#context = context;
  }

  start(): void {
    this.#stopping = new AbortController();
    const { native, sessions } = this.#context;
    this.#undo.push(
      native.relay.onEvent<Fields>('job-started', (event) => {
        if (typeof event['protect_s'] === 'number') this.#newer.add(text(event['job']));
        this.#learn(event);
      }),
      native.relay.onEvent<Fields>('job-state', (event) => this.#state(text(event['job']), text(event['state']))),
      native.relay.onEvent<Fields>('job-ended', (event) => this.#forget(text(event['job']), true)),
      native.relay.onEvent<Fields>('job-lost', (event) => this.#forget(text(event['job']), false)),
      native.relay.onConnect(() => this.#run(() => this.#readAll())),
      sessions.onOpen((session) => {
        if (session.origin === this.#context.node) this.#run(() => this.#removeOrphans(session.user, session.uid));
      }),
    );
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    for (const undo of this.#undo.splice(0)) undo();
    await Promise.allSettled(this.#work);
    this.#jobs.clear();
    this.#complete = false;
  }

  /** Protected jobs that live. */
  get size(): number {
    return this.#jobs.size;
  }

  #run(work: () => Promise<void>): void {
    const done = work().catch((thrown: unknown) => {
      if (!this.#stopping.signal.aborted) this.#context.ports.log.warn('protection of jobs', { reason: describe(thrown) });
    }).finally(() => this.#work.delete(done));
    this.#work.add(done);
  }

  #learn(fields: Fields): void {
    const id = text(fields['job']);
    if (typeof fields['protect_s'] !== 'number' || id === '') return;
    const known = this.#jobs.get(id);
    if (known !== undefined) return this.#state(id, text(fields['state']));
    const job: Guarded = {
      id, name: text(fields['name']), user: text(fields['user']), uid: count(fields['uid']), protect_s: count(fields['protect_s']), state: text(fields['state']),
      kept: text(fields['checkpoint']), kept_ms: count(fields['checkpoint_ms']), used: 0, over: new AbortController(),
    };
    this.#jobs.set(id, job);
    this.#run(() => this.#follow(job));
  }

  #state(id: string, state: string): void {
    const job = this.#jobs.get(id);
    if (job !== undefined) job.state = state;
  }

  /** @param remove an ended job needs no checkpoint; that of a lost one is left to its owner (xrestart) */
  #forget(id: string, remove: boolean): void {
    this.#newer.delete(id);
    const job = this.#jobs.get(id);
    if (job === undefined) return;
    this.#jobs.delete(id);
    job.over.abort();
    if (remove) this.#run(() => this.#removeOld(job, ''));
  }

  /** After each connect: jobs that began while we were away, and those that ended. */
  async #readAll(): Promise<void> {
    const living = this.#newer = new Set<string>();
    for (let after = 0; ;) {
      const answer = await this.#context.native.relay.request<{ readonly jobs?: readonly Fields[]; readonly next?: unknown }>('jobs', { after, limit: limits.list_portion }, { signal: this.#stopping.signal });
      for (const fields of answer.jobs ?? []) {
        const id = text(fields['job']);
        if (fields['state'] === 'lost') continue;
        if (fields['state'] !== 'ended') {
          living.add(id);
          this.#learn(fields);
        } else if (this.#jobs.has(id)) {
          this.#forget(id, true);
        } else if (typeof fields['protect_s'] === 'number') {
          this.#run(() => this.#removeOld({ id, user: text(fields['user']), uid: count(fields['uid']) }, ''));
        }
      }
      if (typeof answer.next !== 'number' || answer.next <= after) break;
      after = answer.next;
    }
    for (const id of [...this.#jobs.keys()]) if (!living.has(id)) this.#forget(id, false);
    this.#complete = true;
  }

  /** From the job's start, or our own, to the end of either. */
  async #follow(job: Guarded): Promise<void> {
    const { clock } = this.#context.ports;
    const signal = AbortSignal.any([job.over.signal, this.#stopping.signal]);
    let told = false;
    let retry_ms: number = limits.retry_ms_min;
    // One that was protected before a restart of xosd is due when it would have been, as far as is known: its cost is not.
    let wait_ms = job.kept === '' ? limits.first_ms : Math.max(limits.first_ms, job.kept_ms + Math.max(job.protect_s * 1000, limits.interval_ms_min) - clock.now_ms());
    while (!signal.aborted) {
      await clock.sleep(wait_ms, signal).catch(() => undefined);
      if (signal.aborted) return;
      if (job.state !== 'running' && job.state !== 'stopped') {
        wait_ms = limits.look_ms;
        continue;
      }
      try {
        const cost_ms = await this.#take(job, signal);
        wait_ms = nextInterval(job.protect_s, cost_ms, this.#mtbf());
        retry_ms = limits.retry_ms_min;
      } catch (thrown) {
        if (signal.aborted) return;
        const busy = hasCode(thrown, 'XOS_JOB_BUSY', 'XOS_JOB_ENDED', 'XOS_JOB_NOT_RUNNING', 'XOS_JOB_LOST', 'XOS_JOB_UNKNOWN');
        wait_ms = busy ? limits.look_ms : retry_ms;
        if (busy) continue;
        retry_ms = Math.min(2 * retry_ms, limits.retry_ms_max);
        if (!told) await this.#tell(job, describe(thrown), signal);
        told = true;
      }
    }
  }

  /** One checkpoint. Returns what it took, in ms. */
  async #take(job: Guarded, signal: AbortSignal): Promise<number> {
    const { native, ports } = this.#context;
    const name = nextKeptName(job.id, await ports.disk.list(this.#place(job.user)), job.used);
    job.used = readKeptName(name)?.number ?? 0;
    const directory = `${this.#place(job.user)}/${name}`;
    const began_ms = ports.clock.monotonic_ms();
    // Not given up when the job's end or ours comes in between: the relay ends what it began, and says so after a restart.
    await native.relay.request('checkpoint', { job: job.id, uid: 0, directory, leave_running: true, protect: true }, { signal, timeout_ms: limits.protect_deadline_ms });
    job.kept = directory;
    job.kept_ms = ports.clock.now_ms();
    const cost_ms = ports.clock.monotonic_ms() - began_ms;
    // An older one that stays costs room, not safety.
    await this.#removeOld(job, name).catch((thrown: unknown) => ports.log.warn('an older checkpoint of a protected job stays', { job: job.id, reason: describe(thrown) }));
    return cost_ms;
  }

  async #tell(job: Guarded, reason: string, signal: AbortSignal): Promise<void> {
    const { native, ports } = this.#context;
    ports.log.info('a protected job cannot be checkpointed', { job: job.id, reason });
    await native.relay.request('notice', { job: job.id, text: `'${job.name}' (job ${job.id}) goes on unprotected for now: ${reason}` }, { signal }).catch((thrown: unknown) =>
      ports.log.warn('the user was not told that a job is unprotected', { job: job.id, reason: describe(thrown) }));
  }

  /** How often nodes of the VO fail, by its policy `node.mtbf` (hours). */
  #mtbf(): number {
    const hours = Number(this.#context.members.policy()['node.mtbf'] ?? NaN);
    return hours > 0 ? hours * hour_ms : limits.mtbf_ms;
  }

  #place(user: string): string {
    return checkpointsOf(`${this.#context.paths.home}/${user}`);
  }

  /** @param keep name of the one that stays; empty: none */
  async #removeOld(job: Pick<Guarded, 'id' | 'user' | 'uid'>, keep: string): Promise<void> {
    const place = this.#place(job.user);
    const names = superseded(job.id, keep, await this.#context.ports.disk.list(place));
    const failed = (await Promise.allSettled(names.map((name) => this.#remove(job.uid, `${place}/${name}`)))).find((each) => each.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  /** What jobs left behind that this home does not know any more; they may be wanted for a week. */
  async #removeOrphans(user: string, uid: number): Promise<void> {
    if (!this.#complete) return;
    const { node, ports } = this.#context;
    const place = this.#place(user);
    const names = (await ports.disk.list(place)).filter((name) => readKeptName(name) !== null);
    for (const { name } of orphans(node, new Set(this.#jobs.keys()), names)) {
      const bytes = await ports.disk.read(`${place}/${name}/${manifest_name}`);
      let made_ms = 0;
      try {
        if (bytes !== null) made_ms = parseManifest(bytes, name, 'remove').created_ms;
      } catch { /* unusable: it goes */ }
      if (ports.clock.now_ms() - made_ms > limits.orphan_ms) await this.#remove(uid, `${place}/${name}`);
    }
  }

  /** As the user, who could have put a link anywhere in the path. The manifest first: half removed is not there. */
  async #remove(uid: number, directory: string): Promise<void> {
    const args = [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', '--', 'rm', '-rf', '--', `${directory}/${manifest_name}`, directory];
    const done = await this.#context.ports.spawn.run('setpriv', args, { timeout_ms: limits.remove_deadline_ms });
    if (done.exit_code !== 0) throw new Error(`cannot remove the checkpoint '${directory}': ${done.stderr.trim().slice(0, 300)}`);
  }
}

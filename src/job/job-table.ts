import { limits } from './limits.ts';
import { isFinal, type Job, type JobState } from './model.ts';

/**
 * The jobs whose home is this node, as a state machine over the relay's events. The relay is the source; the table can be thrown
 * away and filled again by `jobs` (a resync), so events may come twice, late, or not at all around a reconnect.
 */
export type JobEvent =
  | { readonly kind: 'started'; readonly job: Job }
  | { readonly kind: 'state'; readonly id: string; readonly state: JobState; readonly node?: string }
  | { readonly kind: 'ended'; readonly id: string; readonly exit_code: number | null; readonly exit_signal: number | null; readonly cpu_seconds: number | null }
  /** A checkpoint of a protected job is whole. */
  | { readonly kind: 'kept'; readonly id: string; readonly checkpoint_ms: number }
  | { readonly kind: 'lost'; readonly id: string; readonly node: string; readonly reason: string }
  /** A node left the VO or was declared dead: what ran there is lost, whether or not the relay has noticed yet. */
  | { readonly kind: 'node-gone'; readonly node: string; readonly reason: string }
  /** The relay's whole table after a (re)connect. `newer`: jobs of which events came while it was read; what is known of them is newer. */
  | { readonly kind: 'resync'; readonly jobs: readonly Job[]; readonly newer?: ReadonlySet<string> };

export interface Applied {
  /** Jobs that changed, as they are now. */
  readonly changed: readonly Job[];
  /** The event spoke of a job that is not in the table: something was missed, ask for `jobs`. */
  readonly resync: boolean;
}

const nothing: Applied = { changed: [], resync: false };

export class JobTable {
  readonly #jobs = new Map<string, Job>();

  get(id: string): Job | null {
    return this.#jobs.get(id) ?? null;
  }

  list(): readonly Job[] {
    return [...this.#jobs.values()];
  }

  get size(): number {
    return this.#jobs.size;
  }

  /** Applies one event at `now_ms` (wall clock). Applying it again changes nothing. */
  apply(event: JobEvent, now_ms: number): Applied {
    switch (event.kind) {
      case 'started': return this.#started(event.job);
      case 'state': return this.#state(event.id, event.state, event.node);
      case 'ended': return this.#ended(event, now_ms);
      case 'kept': return this.#kept(event.id, event.checkpoint_ms);
      case 'lost': return this.#lost(event.id, event.node, event.reason, now_ms);
      case 'node-gone': return this.#nodeGone(event.node, event.reason, now_ms);
      case 'resync': return this.#resync(event.jobs, event.newer ?? new Set(), now_ms);
    }
  }

  /** Forgets ended jobs beyond the limits; the oldest first. Returns how many. */
  prune(now_ms: number): number {
    const ended = [...this.#jobs.values()].filter((job) => isFinal(job.state)).sort((a, b) => (b.ended_ms ?? 0) - (a.ended_ms ?? 0));
    let forgotten = 0;
    for (const [index, job] of ended.entries()) {
      if (index < limits.ended_jobs_max && now_ms - (job.ended_ms ?? 0) <= limits.ended_jobs_ms) continue;
      this.#jobs.delete(job.id);
      forgotten++;
    }
    return forgotten;
  }

  #started(job: Job): Applied {
    const known = this.#jobs.get(job.id);
    // A start that arrives after its own end (out of order around a resync) must not bring the job back to life. A second start of a
    // job that lives is news: it was refused where it was to run and goes elsewhere, or it was restored.
    if (known !== undefined && (isFinal(known.state) || same(known, job))) return nothing;
    return this.#set(job);
  }

  #state(id: string, state: JobState, node: string | undefined): Applied {
    const known = this.#jobs.get(id);
    if (known === undefined) return { changed: [], resync: true };
    // Only a restore wakes what has ended or was lost.
    if (isFinal(known.state) && state !== 'restoring') return nothing;
    // Nor can a state event end a job: that needs the status which only `ended` and `lost` carry.
    if (isFinal(state)) return isFinal(known.state) ? nothing : { changed: [], resync: true };
    const next = { ...known, state, node: node ?? known.node };
    if (next.state === known.state && next.node === known.node) return nothing;
    return this.#set(isFinal(known.state) ? { ...next, ended_ms: null, exit_code: null, exit_signal: null, cpu_seconds: null, reason: '' } : next);
  }

  #ended(event: Extract<JobEvent, { kind: 'ended' }>, now_ms: number): Applied {
    const known = this.#jobs.get(event.id);
    if (known === undefined) return { changed: [], resync: true };
    if (isFinal(known.state)) return nothing;
    const { exit_code, exit_signal, cpu_seconds } = event;
    return this.#set({ ...known, state: 'ended', ended_ms: now_ms, exit_code, exit_signal, cpu_seconds });
  }

  #kept(id: string, checkpoint_ms: number): Applied {
    const known = this.#jobs.get(id);
    if (known === undefined) return { changed: [], resync: true };
    if (isFinal(known.state) || known.checkpoint_ms === checkpoint_ms) return nothing;
    return this.#set({ ...known, checkpoint_ms });
  }

  #lost(id: string, node: string, reason: string, now_ms: number): Applied {
    const known = this.#jobs.get(id);
    if (known === undefined) return { changed: [], resync: true };
    if (isFinal(known.state)) return nothing;
    return this.#set({ ...known, state: 'lost', ended_ms: now_ms, node: node === '' ? known.node : node, reason });
  }

  #nodeGone(node: string, reason: string, now_ms: number): Applied {
    const there = [...this.#jobs.values()].filter((job) => job.node === node && !isFinal(job.state));
    return { changed: there.flatMap((job) => this.#lost(job.id, node, reason, now_ms).changed), resync: false };
  }

  #resync(jobs: readonly Job[], newer: ReadonlySet<string>, now_ms: number): Applied {
    const changed: Job[] = [];
    const present = new Set<string>();
    for (const job of jobs.slice(0, limits.jobs_max)) {
      present.add(job.id);
      const known = this.#jobs.get(job.id);
      if (known !== undefined && (newer.has(job.id) || same(known, job))) continue;
      // The relay may report the same end without the figures that the event had; ours are fuller.
      if (known !== undefined && isFinal(known.state) && known.state === job.state) continue;
      changed.push(...this.#set(job).changed);
    }
    for (const job of [...this.#jobs.values()]) {
      if (present.has(job.id) || newer.has(job.id) || isFinal(job.state)) continue;
      changed.push(...this.#lost(job.id, job.node, 'the relay of its home node was restarted', now_ms).changed);
    }
    return { changed, resync: false };
  }

  #set(job: Job): Applied {
    this.#jobs.set(job.id, job);
    return { changed: [job], resync: false };
  }
}

function same(a: Job, b: Job): boolean {
  return a.state === b.state && a.node === b.node && a.proxy_pid === b.proxy_pid && a.name === b.name && a.exit_code === b.exit_code
    && a.exit_signal === b.exit_signal && a.ended_ms === b.ended_ms && a.checkpoint_ms === b.checkpoint_ms;
}

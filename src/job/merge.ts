import type { Job, Usage } from './model.ts';
import type { JobRow } from './rows.ts';

/** What one node answered; null when it did not. */
export interface NodeAnswer {
  readonly node: string;
  readonly answer: { readonly jobs: readonly Job[]; readonly usages: readonly Usage[] } | null;
}

/**
 * Joins what the homes know (name, state) with what the running nodes measure (CPU, memory), sorted by home and number. A cell whose
 * home did not answer is shown too, as lost: nothing says that anyone waits for it.
 * @param nameOf user name of a uid, for cells without a home
 */
export function mergeJobs(answers: readonly NodeAnswer[], vo: string, nameOf: (uid: number) => string): readonly JobRow[] {
  const usages = new Map<string, { usage: Usage; node: string }>();
  const answered = new Set<string>();
  for (const { node, answer } of answers) {
    if (answer !== null) answered.add(node);
    for (const usage of answer?.usages ?? []) usages.set(usage.job, { usage, node });
  }
  const rows = new Map<string, JobRow>();
  for (const { node, answer } of answers) {
    for (const job of answer?.jobs ?? []) rows.set(job.id, row(job, node, usages.get(job.id)?.usage));
  }
  for (const [id, { usage, node }] of usages) {
    if (rows.has(id) || answered.has(usage.home)) continue;
    rows.set(id, orphan(usage, node, vo, nameOf(usage.uid)));
  }
  return [...rows.values()].sort(byId);
}

function row(job: Job, home: string, usage: Usage | undefined): JobRow {
  return {
    id: job.id, name: job.name, argv: job.argv, node: job.node, home, state: job.state, user: job.user, vo: job.vo, uid: job.uid,
    cpu_seconds: job.cpu_seconds ?? usage?.cpu_seconds ?? 0, memory_bytes: usage?.memory_bytes ?? 0, processes: usage?.processes ?? 0,
    proxy_pid: job.proxy_pid, started_ms: job.started_ms, ended_ms: job.ended_ms, exit_code: job.exit_code, exit_signal: job.exit_signal,
    reason: job.reason, protect_s: job.protect_s, checkpoint_ms: job.checkpoint_ms,
  };
}

function orphan(usage: Usage, node: string, vo: string, user: string): JobRow {
  return {
    id: usage.job, name: '?', argv: [], node, home: usage.home, state: 'lost', user, vo, uid: usage.uid,
    cpu_seconds: usage.cpu_seconds, memory_bytes: usage.memory_bytes, processes: usage.processes, proxy_pid: 0, started_ms: null, ended_ms: null,
    exit_code: null, exit_signal: null, reason: `its home node '${usage.home}' does not answer`, protect_s: null, checkpoint_ms: null,
  };
}

function byId(a: JobRow, b: JobRow): number {
  if (a.home !== b.home) return a.home < b.home ? -1 : 1;
  return Number(a.id.slice(a.home.length + 1)) - Number(b.id.slice(b.home.length + 1));
}

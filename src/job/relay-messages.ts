import { limits } from './limits.ts';
import { isFinal, job_states, type Job, type JobState, type Usage } from './model.ts';
import type { JobEvent } from './job-table.ts';

/**
 * Reads what `xos-relayd` says (docs/architecture.md, relayd.ctl) into our model. A message that lacks what it must have is dropped by
 * the caller with a line in the log: null.
 */
type Fields = Readonly<Record<string, unknown>>;

export function readJob(value: unknown): Job | null {
  const fields = asFields(value);
  const id = text(fields['job']);
  const state = asState(fields['state']);
  if (id === '' || state === null) return null;
  return {
    id, state, argv: readArguments(fields['argv']), name: text(fields['name']), node: text(fields['node']), session: text(fields['session']),
    uid: count(fields['uid']), user: text(fields['user']), vo: text(fields['vo']), proxy_pid: count(fields['proxy_pid']),
    started_ms: count(fields['started_ms']), ended_ms: isFinal(state) ? count(fields['ended_ms']) : null,
    exit_code: maybe(fields['exit_code']), exit_signal: maybe(fields['exit_signal']), cpu_seconds: maybe(fields['cpu_seconds']),
    reason: text(fields['reason']), protect_s: maybe(fields['protect_s']), checkpoint_ms: maybe(fields['checkpoint_ms']),
  };
}

/** The first arguments, as far as the bound; what is cut ends in `…`. */
function readArguments(value: unknown): readonly string[] {
  const kept: string[] = [];
  let left = limits.argv_bytes_max;
  for (const argument of Array.isArray(value) ? value : []) {
    if (typeof argument !== 'string') continue;
    if (argument.length >= left) return [...kept, `${argument.slice(0, Math.max(0, left - 1))}…`];
    kept.push(argument);
    left -= argument.length + 1;
  }
  return kept;
}

/** The answer to `jobs`. */
export const readJobs = (answer: unknown): readonly Job[] => each(asFields(answer)['jobs'], readJob);

/** The answer to `cells`. */
export const readUsages = (answer: unknown): readonly Usage[] => each(asFields(answer)['cells'], readUsage);

/** An event of a job; null for one that is not understood. */
export function readEvent(name: string, event: unknown): JobEvent | null {
  const fields = asFields(event);
  if (name === 'job-started') {
    const job = readJob(fields['state'] === undefined ? { ...fields, state: 'running' } : fields);
    return job === null ? null : { kind: 'started', job };
  }
  const id = text(fields['job']);
  if (id === '') return null;
  switch (name) {
    case 'job-state': {
      const state = asState(fields['state']);
      return state === null ? null : { kind: 'state', id, state, ...(typeof fields['node'] === 'string' ? { node: fields['node'] } : {}) };
    }
    case 'job-ended':
      return { kind: 'ended', id, exit_code: maybe(fields['exit_code']), exit_signal: maybe(fields['exit_signal']), cpu_seconds: maybe(fields['cpu_seconds']) };
    case 'job-lost': return { kind: 'lost', id, node: text(fields['node']), reason: text(fields['reason']) };
    case 'job-kept': return { kind: 'kept', id, checkpoint_ms: count(fields['checkpoint_ms']) };
    default: return null;
  }
}

function readUsage(value: unknown): Usage | null {
  const fields = asFields(value);
  const job = text(fields['job']);
  if (job === '') return null;
  return {
    job, home: text(fields['home']), uid: count(fields['uid']), processes: count(fields['processes']),
    cpu_seconds: maybe(fields['cpu_seconds']) ?? 0, memory_bytes: count(fields['memory_bytes']),
  };
}

const each = <T>(list: unknown, read: (value: unknown) => T | null): readonly T[] =>
  Array.isArray(list) ? list.flatMap((value) => read(value) ?? []) : [];

const asFields = (value: unknown): Fields => (typeof value === 'object' && value !== null ? value as Fields : {});
const text = (value: unknown): string => (typeof value === 'string' ? value : '');
const maybe = (value: unknown): number | null => (typeof value === 'number' && Number.isFinite(value) ? value : null);
const count = (value: unknown): number => Math.max(0, Math.trunc(maybe(value) ?? 0));
const asState = (value: unknown): JobState | null => job_states.find((state) => state === value) ?? null;

import type { Job as JobMessage, Load } from '../proto/xos/job/v1/job.ts';
import { limits } from './limits.ts';
import { job_states, type Job, type LoadReport, type ServiceState } from './model.ts';

/** Between our model and the messages of xos/job/v1. What comes from a peer is bounded here, once. */
export const jobToMessage = (job: Job): JobMessage => ({
  ...job, argv: [...job.argv],
  ended_ms: job.ended_ms ?? undefined, exit_code: job.exit_code ?? undefined,
  exit_signal: job.exit_signal ?? undefined, cpu_seconds: job.cpu_seconds ?? undefined,
  protect_s: job.protect_s ?? undefined, checkpoint_ms: job.checkpoint_ms ?? undefined,
});

/** @param home the node that answered: a job's id must carry its name */
export function jobFromMessage(message: JobMessage, home: string): Job | null {
  const state = job_states.find((each) => each === message.state);
  if (state === undefined || !message.id.startsWith(`${home}-`)) return null;
  return {
    ...message, state,
    ended_ms: message.ended_ms ?? null, exit_code: message.exit_code ?? null,
    exit_signal: message.exit_signal ?? null, cpu_seconds: message.cpu_seconds ?? null,
    protect_s: message.protect_s ?? null, checkpoint_ms: message.checkpoint_ms ?? null,
  };
}

export const loadToMessage = (report: LoadReport, services: readonly ServiceState[]): Load => ({ ...report, services: [...services] });

/** Null when the message is not what the peer's xosd would send: another node's name, or figures that can't be. */
export function loadFromMessage(message: Load, peer: string): { readonly report: LoadReport; readonly services: readonly ServiceState[] } | null {
  const { node, cpus, running, load, memory_free_bytes, memory_total_bytes } = message;
  const good = node === peer && cpus > 0 && cpus <= limits.cpus_max && running <= limits.jobs_max && Number.isFinite(load) && load >= 0
    && memory_free_bytes <= limits.memory_bytes_max && message.services.length <= 32;
  return good ? { report: { node, cpus, running, load, memory_free_bytes, memory_total_bytes }, services: message.services } : null;
}

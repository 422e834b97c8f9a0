import type { NodeContext } from '../daemon/context.ts';
import type { Job } from './model.ts';

/**
 * Publishes what a job does, on VO/jobs/JOB/state, by its home: for those who wait for it on any node (`xsubscribe demo/jobs/+/state`). While nobody
 * in the VO does, nothing is sent. Members get what is of their own uid.
 */
export function tellJob(context: NodeContext, job: Job): void {
  const { overlay } = context.provided;
  if (overlay == null || !overlay.wanted('jobs')) return;
  const { id, name, state, node, user, uid, exit_code, exit_signal, cpu_seconds, started_ms, ended_ms, reason } = job;
  const told = { job: id, name, state, node, user, uid, started_ms, ended_ms, exit_code, exit_signal, cpu_seconds, reason };
  overlay.tell(`${context.vo}/jobs/${id}/state`, Buffer.from(JSON.stringify(Object.fromEntries(Object.entries(told).filter(([, value]) => value !== null && value !== '')))));
}

import { JobServiceDefinition, type WaitReply, type WaitRequest } from '../../proto/xos/job/v1/job.ts';
import { noJob, notYours } from '../errors.ts';
import { askHome, findTarget } from '../find-job.ts';
import { isAdmin, type Asker, type Jobs } from '../jobs.ts';
import { limits } from '../limits.ts';
import { jobFromMessage, jobToMessage } from '../messages.ts';
import type { Job } from '../model.ts';

/** xosd.sock `jobs.wait`: one turn of waiting. Answers when the job is final, or after `turn_ms` with the job as it is; ask again then. */
export async function waitJob(jobs: Jobs, asker: Asker, request: { job: string; turn_ms: number }, signal: AbortSignal): Promise<{ readonly job: Job }> {
  const target = findTarget(jobs, asker, request.job, 'wait for');
  const uid = isAdmin(jobs.context, asker) ? 0 : asker.uid;
  const turn_ms = Math.ceil(Math.min(Math.max(0, request.turn_ms), limits.wait_turn_ms));
  const client = jobs.context.rpc.client(target.home, JobServiceDefinition);
  const reply = await askHome(target, 'wait for', () =>
    client.wait({ job: target.job, uid, turn_ms }, { deadline_ms: turn_ms + limits.wait_turn_margin_ms, signal }));
  const job = reply.job === undefined ? null : jobFromMessage(reply.job, target.home);
  if (job === null) throw noJob('wait for', target.job);
  return { job };
}

/** gRPC Wait, on the job's home. */
export async function waitHere(jobs: Jobs, request: WaitRequest, signal: AbortSignal): Promise<WaitReply> {
  const known = jobs.link.table.get(request.job);
  if (known === null) throw noJob('wait for', request.job);
  if (request.uid !== 0 && known.uid !== request.uid) throw notYours('wait for', known.id, `${known.user}@${known.vo}`);
  const turn = jobs.context.ports.clock.deadline(Math.min(request.turn_ms, limits.wait_turn_ms), signal);
  const job = await jobs.link.waitFinal(request.job, turn);
  if (job === null) throw noJob('wait for', request.job);
  return { job: jobToMessage(job) };
}

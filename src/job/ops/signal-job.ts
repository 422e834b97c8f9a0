import { JobServiceDefinition, type SignalRequest } from '../../proto/xos/job/v1/job.ts';
import { badArgument, jobOver, noJob, notYours } from '../errors.ts';
import { askHome, findTarget } from '../find-job.ts';
import { isAdmin, type Asker, type Jobs } from '../jobs.ts';
import { limits } from '../limits.ts';
import { isFinal } from '../model.ts';

/** xosd.sock `jobs.signal`: sends a signal to a job wherever its home is. Resolves when the home's relay has taken it. */
export async function signalJob(jobs: Jobs, asker: Asker, request: { job: string; signal: number }, signal: AbortSignal): Promise<{ readonly job: string }> {
  if (!Number.isInteger(request.signal) || request.signal < 0 || request.signal > 64) throw badArgument(`signal ${request.signal} is not one of 0 to 64`);
  const target = findTarget(jobs, asker, request.job, 'signal');
  // An administrator acts as root does: for any job.
  const uid = isAdmin(jobs.context, asker) ? 0 : asker.uid;
  const client = jobs.context.rpc.client(target.home, JobServiceDefinition);
  await askHome(target, 'signal', () => client.signal({ job: target.job, signal: request.signal, uid }, { deadline_ms: limits.signal_deadline_ms, signal }));
  return { job: target.job };
}

/** gRPC Signal, on the job's home. */
export async function signalHere(jobs: Jobs, request: SignalRequest, signal: AbortSignal): Promise<Record<string, never>> {
  const job = jobs.link.table.get(request.job);
  if (job === null) throw noJob('signal', request.job);
  if (request.uid !== 0 && job.uid !== request.uid) throw notYours('signal', job.id, `${job.user}@${job.vo}`);
  if (isFinal(job.state)) throw jobOver('signal', job.id, job.state === 'lost' ? 'lost with its node' : 'over');
  // Signal 0 only asks whether the job is there and one's own, as kill(2) does.
  if (request.signal !== 0) await jobs.context.native.relay.request('signal', { job: job.id, signal: request.signal, uid: request.uid }, { signal });
  return {};
}

import { describe } from '../../core/errors.ts';
import { JobServiceDefinition, type ListReply, type ListRequest } from '../../proto/xos/job/v1/job.ts';
import { isAdmin, type Asker, type Jobs } from '../jobs.ts';
import { limits } from '../limits.ts';
import { mergeJobs, type JobRow, type NodeAnswer } from '../merge.ts';
import { jobFromMessage, jobToMessage } from '../messages.ts';
import { isFinal } from '../model.ts';
import { XosError } from '../../core/errors.ts';

export interface ListJobs {
  readonly jobs: readonly JobRow[];
  /** Nodes that did not answer in time: their jobs may be missing. */
  readonly silent: readonly string[];
}

/** xosd.sock `jobs.list`: the caller's jobs over the grid, or everybody's for an administrator. */
export async function listJobs(jobs: Jobs, asker: Asker, request: { all: boolean; ended: boolean }, signal: AbortSignal): Promise<ListJobs> {
  const { context } = jobs;
  if (request.all && !isAdmin(context, asker)) {
    throw new XosError('XOS_DENIED', "cannot list the jobs of other users: that takes the role 'admin' in the VO; leave out --all");
  }
  const answers = await Promise.all(context.members.admitted().map(({ node }) => ask(jobs, node, { uid: asker.uid, ...request }, signal)));
  return {
    jobs: mergeJobs(answers, context.vo, (uid) => context.members.byUid(uid)?.user ?? `${uid}`),
    silent: answers.filter(({ answer }) => answer === null).map(({ node }) => node),
  };
}

/** gRPC List: the jobs whose home is here and what runs here. */
export async function listHere(jobs: Jobs, request: ListRequest, signal: AbortSignal): Promise<ListReply> {
  const wanted = (uid: number): boolean => request.all || uid === request.uid;
  jobs.link.table.prune(jobs.context.ports.clock.now_ms());
  const own = jobs.link.table.list().filter((job) => wanted(job.uid) && (request.ended || !isFinal(job.state) || job.state === 'lost'));
  const cells = await jobs.link.cells(signal);
  return { jobs: own.map(jobToMessage), usages: cells.filter((cell) => wanted(cell.uid)).map((cell) => ({ ...cell })) };
}

async function ask(jobs: Jobs, node: string, request: ListRequest, signal: AbortSignal): Promise<NodeAnswer> {
  try {
    const client = jobs.context.rpc.client(node, JobServiceDefinition);
    const reply = await client.list(request, { deadline_ms: limits.fan_out_deadline_ms, signal });
    return { node, answer: { jobs: reply.jobs.flatMap((message) => jobFromMessage(message, node) ?? []), usages: reply.usages } };
  } catch (thrown) {
    signal.throwIfAborted();
    jobs.context.ports.log.info('a node did not list its jobs', { node, reason: describe(thrown) });
    return { node, answer: null };
  }
}

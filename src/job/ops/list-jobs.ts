import { describe } from '../../core/errors.ts';
import { JobServiceDefinition, type ListReply, type ListRequest } from '../../proto/xos/job/v1/job.ts';
import { isAdmin, type Asker, type Jobs } from '../jobs.ts';
import { limits } from '../limits.ts';
import { mergeJobs, type NodeAnswer } from '../merge.ts';
import type { JobRow } from '../rows.ts';
import { jobFromMessage, jobToMessage } from '../messages.ts';
import { isFinal, type Job, type Usage } from '../model.ts';
import { XosError } from '../../core/errors.ts';

export interface ListJobs {
  /** Nodes that did not answer in time: their jobs may be missing. */
  readonly silent: readonly string[];
}

/** xosd.sock `job-list`: the caller's jobs over the grid, or everybody's for an administrator; in portions. */
export async function* listJobs(
  jobs: Jobs, asker: Asker, request: { all: boolean; ended: boolean }, signal: AbortSignal,
): AsyncGenerator<{ readonly jobs: readonly JobRow[] }, ListJobs, void> {
  const { context } = jobs;
  if (request.all && !isAdmin(context, asker)) {
    throw new XosError('XOS_DENIED', "cannot list the jobs of other users: that takes the role 'admin' in the VO; leave out --all");
  }
  const answers = await Promise.all(context.members.admitted().map(({ node }) => ask(jobs, node, { uid: asker.uid, ...request }, signal)));
  const rows = mergeJobs(answers, context.vo, (uid) => context.members.byUid(uid)?.user ?? `${uid}`);
  for (const portion of portions(rows)) yield { jobs: portion };
  return {
    silent: answers.filter(({ answer }) => answer === null).map(({ node }) => node),
  };
}

/** gRPC List: the jobs whose home is here and what runs here. */
export async function* listHere(jobs: Jobs, request: ListRequest, signal: AbortSignal): AsyncIterable<ListReply> {
  const wanted = (uid: number): boolean => request.all || uid === request.uid;
  jobs.link.table.prune(jobs.context.ports.clock.now_ms());
  const own = jobs.link.table.list().filter((job) => wanted(job.uid) && (request.ended || !isFinal(job.state) || job.state === 'lost'));
  const cells = (await jobs.link.cells(signal)).filter((cell) => wanted(cell.uid));
  for (const portion of portions(own)) yield { jobs: portion.map(jobToMessage), usages: [] };
  for (const portion of portions(cells)) yield { jobs: [], usages: portion.map((cell) => ({ ...cell })) };
}

function* portions<T>(list: readonly T[]): Iterable<readonly T[]> {
  for (let from = 0; from < list.length; from += limits.list_portion) yield list.slice(from, from + limits.list_portion);
}

async function ask(jobs: Jobs, node: string, request: ListRequest, signal: AbortSignal): Promise<NodeAnswer> {
  try {
    const client = jobs.context.rpc.client(node, JobServiceDefinition);
    const answer: { jobs: Job[]; usages: Usage[] } = { jobs: [], usages: [] };
    for await (const portion of client.list(request, { deadline_ms: limits.fan_out_deadline_ms, signal })) {
      answer.jobs.push(...portion.jobs.flatMap((message) => jobFromMessage(message, node) ?? []));
      answer.usages.push(...portion.usages);
    }
    return { node, answer };
  } catch (thrown) {
    signal.throwIfAborted();
    jobs.context.ports.log.info('a node did not list its jobs', { node, reason: describe(thrown) });
    return { node, answer: null };
  }
}

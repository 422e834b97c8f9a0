import type { NodeContext } from '../daemon/context.ts';
import type { ApiCaller } from '../api/registry.ts';
import { XosError, hasCode } from '../core/errors.ts';
import { parseJobId } from '../core/ids.ts';
import { JobServiceDefinition, type Job } from '../proto/xos/job/v1/job.ts';
import { homeSilent, noSuchJob, noSuchNode, noSuchProxy, notYours } from './errors.ts';
import { limits } from './limits.ts';
import type { CheckpointProgress } from './model.ts';

/** A job and the node that knows it. */
export interface FoundJob {
  readonly job: Job;
  readonly home: string;
  /** In whose name the relay is asked: 0 for who may act on any job. */
  readonly uid: number;
}

/** Root of the node, and members with the role `admin`, may act on all jobs of the VO. */
export const isAdmin = (context: NodeContext, caller: ApiCaller): boolean =>
  caller.uid === 0 || (context.members.byUid(caller.uid)?.roles.includes('admin') ?? false);

/**
 * The job that a person names by its id or, on its home, by the pid of its proxy.
 * @param attempt the verb of the error message
 * @throws XosError XOS_BAD_NAME, XOS_NO_JOB, XOS_NO_NODE, XOS_DENIED, XOS_UNAVAILABLE
 */
export async function findJob(context: NodeContext, caller: ApiCaller, name: string, attempt: string, signal: AbortSignal): Promise<FoundJob> {
  const admin = isAdmin(context, caller);
  const is_pid = /^[0-9]+$/.test(name);
  const home = is_pid ? context.node : parseJobId(name).home;
  if (context.members.node(home) === null) throw noSuchNode(`${attempt} job '${name}'`, home, context.vo);
  const jobs = await jobsAt(context, home, name, `${attempt} job '${name}'`, "try again when 'xnode' shows it ready", signal);
  const job = jobs.filter((each) => (is_pid ? each.proxy_pid === Number(name) : each.id === name)).at(-1);
  if (job === undefined) throw is_pid ? noSuchProxy(attempt, name) : noSuchJob(attempt, name);
  if (job.uid !== caller.uid && !admin) throw notYours(attempt, job.id, `${job.user}@${job.vo}`);
  return { job, home, uid: admin ? 0 : caller.uid };
}

/** The jobs whose home is `home`, ended ones as well. */
export async function jobsAt(context: NodeContext, home: string, job: string, attempt: string, advice: string, signal: AbortSignal): Promise<readonly Job[]> {
  try {
    const client = context.rpc.client(home, JobServiceDefinition);
    const jobs: Job[] = [];
    for await (const portion of client.list({ uid: 0, all: true, ended: true }, { deadline_ms: limits.list_deadline_ms, signal })) jobs.push(...portion.jobs);
    return jobs;
  } catch (thrown) {
    signal.throwIfAborted();
    throw hasCode(thrown, 'XOS_UNAVAILABLE', 'XOS_UNREACHABLE', 'XOS_TIMEOUT') ? homeSilent(attempt, job, home, advice, thrown) : thrown;
  }
}

/** Has the relay of a job's home carry out an operation, from whichever node. The relay's error comes through as it is. */
export async function* askRelay(
  context: NodeContext, home: string, operation: 'checkpoint' | 'check' | 'restore' | 'migrate', job: string, uid: number, fields: object, signal: AbortSignal,
): AsyncGenerator<CheckpointProgress, Record<string, unknown>, void> {
  const client = context.rpc.client(home, JobServiceDefinition);
  for await (const event of client.forward({ operation, job, uid, fields_json: JSON.stringify(fields) }, { deadline_ms: 0, signal })) {
    if (event.answer_json !== '') return JSON.parse(event.answer_json) as Record<string, unknown>;
    const { phase, bytes, bytes_total } = JSON.parse(event.progress_json) as Record<string, unknown>;
    yield { phase: String(phase ?? ''), bytes: Number(bytes ?? 0), bytes_total: Number(bytes_total ?? 0) };
  }
  throw new XosError('XOS_UNAVAILABLE', `cannot ${operation} job '${job}': its home node '${home}' ended the call without an answer; 'xps' shows what became of it`, { job, node: home });
}

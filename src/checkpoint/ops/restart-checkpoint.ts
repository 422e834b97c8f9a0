import type { ApiCaller } from '../../api/registry.ts';
import type { NodeContext } from '../../daemon/context.ts';
import { hasCode } from '../../core/errors.ts';
import { parseJobId } from '../../core/ids.ts';
import { JobServiceDefinition, type Job } from '../../proto/xos/job/v1/job.ts';
import { damaged, noSession, noSuchNode, stillRuns, unknownCheckpoint } from '../errors.ts';
import { askRelay, jobsAt } from '../home.ts';
import { limits } from '../limits.ts';
import { manifest_name, parseManifest, type Manifest } from '../manifest.ts';
import type { CheckpointProgress, RestartRequest, Restarted } from '../model.ts';
import { checkpointsOf, parseCheckpointName } from '../names.ts';

const active = new Set(['starting', 'running', 'stopped', 'checkpointing', 'restoring', 'recovering']);

/** Where a restart takes place: the relay of `home`, under `session`, and whether a proxy waits there. */
interface Plan {
  readonly home: string;
  readonly session: string;
  readonly continued: boolean;
}

/**
 * xosd.sock `checkpoint-restart`: brings a checkpoint of the caller's back. A job that still has its proxy goes on with it, on its home;
 * any other one becomes a job of this node. Exactly one copy: refused while the job, or what an earlier restart made of it, is there.
 */
export async function* restartCheckpoint(
  context: NodeContext, caller: ApiCaller, request: RestartRequest, signal: AbortSignal,
): AsyncGenerator<CheckpointProgress, Restarted, void> {
  const name = parseCheckpointName(request.name);
  if (caller.user === null) throw noSession(name, context.node);
  if (request.node !== null && context.members.node(request.node)?.state !== 'admitted') throw noSuchNode(`restart checkpoint '${name}'`, request.node, context.vo);
  const directory = `${checkpointsOf(`${context.paths.home}/${caller.user}`)}/${name}`;
  const manifest = await loadManifest(context, directory, name);
  const known = await lookFor(context, manifest.job, name, request.force, signal);
  if (request.earlier !== '') await lookFor(context, request.earlier, name, request.force, signal);
  const plan = await planRestart(context, caller, name, known);
  const fields = { directory, node: request.node ?? '', session: plan.session, attach: !request.detach };
  const answer = yield* askRelay(context, plan.home, 'restore', manifest.job, caller.uid, fields, signal);
  if (known !== null && !plan.continued && plan.home !== parseJobId(manifest.job).home) await forget(context, known, signal);
  const number = (key: string): number => Number(answer[key] ?? 0);
  return {
    job: String(answer['job'] ?? manifest.job), program: manifest.program.replace(/^.*\//, ''), node: String(answer['node'] ?? ''), name,
    continued: plan.continued, bytes: number('bytes'), processes: number('processes'), total_ms: number('total_ms'),
  };
}

async function loadManifest(context: NodeContext, directory: string, name: string): Promise<Manifest> {
  const { disk } = context.ports;
  const bytes = await disk.read(`${directory}/${manifest_name}`);
  if (bytes !== null && bytes.length <= limits.manifest_bytes_max) return parseManifest(bytes, name, 'restart');
  if (bytes === null && (await disk.facts(directory)) === null) throw unknownCheckpoint('restart', name);
  throw damaged('restart', name, bytes === null ? 'it was never finished (no manifest)' : 'its manifest is too large');
}

/** The job as its home knows it, or null when it is over. Refuses while it is there. */
async function lookFor(context: NodeContext, id: string, name: string, force: boolean, signal: AbortSignal): Promise<Job | null> {
  const { home } = parseJobId(id);
  if (context.members.node(home)?.state !== 'admitted') return null;
  try {
    const advice = `nobody can tell whether the job still runs; if it does not, 'xrestart --force ${name}' makes a new one of it`;
    const job = (await jobsAt(context, home, id, `restart checkpoint '${name}'`, advice, signal)).find((each) => each.id === id);
    if (job !== undefined && active.has(job.state)) throw stillRuns(name, id, job.state, job.node);
    return job?.state === 'checkpointed' ? job : null;
  } catch (thrown) {
    if (force && hasCode(thrown, 'XOS_UNAVAILABLE')) return null;
    throw thrown;
  }
}

async function planRestart(context: NodeContext, caller: ApiCaller, name: string, known: Job | null): Promise<Plan> {
  const home = known === null ? context.node : parseJobId(known.id).home;
  if (known !== null && known.proxy_pid > 0) {
    const here = home === context.node;
    const alive = !here || (await context.ports.processes.startTime(known.proxy_pid)) !== null;
    if (alive) return { home, session: known.session, continued: true };
  }
  const own = context.sessions.list().filter((each) => each.uid === caller.uid && each.origin === context.node);
  const newest = own.toSorted((a, b) => a.started_ms - b.started_ms).at(-1);
  if (newest === undefined) throw noSession(name, context.node);
  return { home: context.node, session: newest.session, continued: false };
}

/** Another node's job that lives on here as a new one: its old home need not keep it as checkpointed. Best effort. */
async function forget(context: NodeContext, job: Job, signal: AbortSignal): Promise<void> {
  const client = context.rpc.client(parseJobId(job.id).home, JobServiceDefinition);
  await client.signal({ job: job.id, signal: 9, uid: job.uid }, { deadline_ms: limits.signal_deadline_ms, signal }).catch((thrown: unknown) =>
    context.ports.log.info('the old home of a restarted job did not forget it', { job: job.id, reason: String(thrown) }));
}

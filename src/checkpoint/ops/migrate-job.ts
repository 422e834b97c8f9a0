import type { ApiCaller } from '../../api/registry.ts';
import type { NodeContext } from '../../daemon/context.ts';
import { noSuchNode, notRunning } from '../errors.ts';
import { askRelay, findJob } from '../home.ts';
import type { CheckpointProgress, Migrated, MigrateRequest } from '../model.ts';
import { checkpointsOf, movingName } from '../names.ts';

/**
 * xosd.sock `checkpoint-migrate`: moves a running job. All of it is done by the relay of the job's home (native/relay/src/relayd/move.cc), which goes
 * on with it when the caller or a xosd goes away: a job is never left between two nodes.
 */
export async function* migrateJob(
  context: NodeContext, caller: ApiCaller, request: MigrateRequest, signal: AbortSignal,
): AsyncGenerator<CheckpointProgress, Migrated, void> {
  if (request.node !== null && context.members.node(request.node)?.state !== 'admitted') throw noSuchNode(`migrate job '${request.job}'`, request.node, context.vo);
  const { job, home, uid } = await findJob(context, caller, request.job, 'migrate', signal);
  if (job.state !== 'running' && job.state !== 'stopped') throw notRunning('migrate', job.id, job.state);
  const place = checkpointsOf(`${context.paths.home}/${job.user}`);
  const directory = `${place}/${movingName(job.id, await context.ports.disk.list(place))}`;
  const answer = yield* askRelay(context, home, 'migrate', job.id, uid, { directory, node: request.node ?? '' }, signal);
  const number = (key: string): number => Number(answer[key] ?? 0);
  return {
    job: job.id, program: job.name, from: String(answer['from'] ?? job.node), node: String(answer['node'] ?? ''),
    bytes: number('bytes'), processes: number('processes'), standstill_ms: number('standstill_ms'),
  };
}

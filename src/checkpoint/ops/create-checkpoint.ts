import type { ApiCaller } from '../../api/registry.ts';
import type { NodeContext } from '../../daemon/context.ts';
import { notRunning } from '../errors.ts';
import { askRelay, findJob } from '../home.ts';
import type { CheckpointProgress, CreateRequest, Created } from '../model.ts';
import { checkpointsOf, defaultName, parseNewName } from '../names.ts';

/** xosd.sock `checkpoint-create`: stores a job with all its processes in its owner's home. A checkpoint of the same job and name is replaced. */
export async function* createCheckpoint(
  context: NodeContext, caller: ApiCaller, request: CreateRequest, signal: AbortSignal,
): AsyncGenerator<CheckpointProgress, Created, void> {
  const wanted = request.name === null ? null : parseNewName(request.name);
  const { job, home, uid } = await findJob(context, caller, request.job, 'checkpoint', signal);
  if (job.state !== 'running' && job.state !== 'stopped') throw notRunning('checkpoint', job.id, job.state);
  const place = checkpointsOf(`${context.paths.home}/${job.user}`);
  const name = wanted ?? await defaultName(context.ports.disk, place, job.name, job.id);
  const directory = `${place}/${name}`;
  const answer = yield* askRelay(context, home, 'checkpoint', job.id, uid, { directory, leave_running: request.leave_running }, signal);
  const number = (key: string): number => Number(answer[key] ?? 0);
  return {
    job: job.id, program: job.name, node: job.node, name, directory,
    bytes: number('bytes'), processes: number('processes'), frozen_ms: number('frozen_ms'), total_ms: number('total_ms'),
    way: answer['copy_on_write'] === true ? 'copy-on-write' : 'plain', why_plain: String(answer['why_plain'] ?? '') || null,
  };
}

import type { ApiCaller } from '../../api/registry.ts';
import type { NodeContext } from '../../daemon/context.ts';
import { notRunning } from '../errors.ts';
import { askRelay, findJob } from '../home.ts';
import type { Checked, Obstacle } from '../model.ts';

/** xosd.sock `checkpoint-check`: whether a job could be checkpointed now, without stopping it. */
export async function checkJob(context: NodeContext, caller: ApiCaller, request: { readonly job: string }, signal: AbortSignal): Promise<Checked> {
  const { job, home, uid } = await findJob(context, caller, request.job, 'check', signal);
  if (job.state !== 'running' && job.state !== 'stopped') throw notRunning('check', job.id, job.state);
  const work = askRelay(context, home, 'check', job.id, uid, {}, signal);
  for (;;) {
    const step = await work.next();
    if (step.done !== true) continue;
    const list = Array.isArray(step.value['obstacles']) ? step.value['obstacles'] as Partial<Obstacle>[] : [];
    return {
      job: job.id, program: job.name, node: job.node,
      obstacles: list.map((each) => ({
        code: String(each.code ?? ''), pid: Number(each.pid ?? 0), program: String(each.program ?? ''), what: String(each.what ?? ''),
        advice: String(each.advice ?? ''), certain: each.certain !== false,
      })),
    };
  }
}

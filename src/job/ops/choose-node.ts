import { XosError } from '../../core/errors.ts';
import type { Jobs } from '../jobs.ts';
import { limits } from '../limits.ts';
import { choose, rank } from '../placement.ts';

/**
 * xosd.sock `job-choose`, for xrun --where: the best of the nodes that fit a query. Anyone may ask.
 * @throws XosError XOS_BAD_QUERY, XOS_NO_NODE when none fits or none of those can run a job now, XOS_UNAVAILABLE
 */
export async function chooseNode(jobs: Jobs, where: string, signal: AbortSignal): Promise<{ readonly node: string; readonly why: string }> {
  const { context, selector } = jobs;
  const { overlay } = context.provided;
  if (overlay == null) throw new XosError('XOS_UNAVAILABLE', 'the overlay of this node does not run; name a node with --node');
  const fitting = new Set(await overlay.query(where, limits.choose_among_max, signal));
  if (fitting.size === 0) throw new XosError('XOS_NO_NODE', `no node fits '${where.slice(0, 200)}'; 'xquery' shows what there is`);
  await selector.loads([...fitting], signal);
  const candidates = rank(selector.view().filter(({ node }) => fitting.has(node)), context.node);
  const choice = choose(candidates, context.node);
  if (choice !== null) return choice;
  const reasons = candidates.slice(0, 3).map(({ node, reason }) => `${node}: ${reason}`).join(', ');
  throw new XosError('XOS_NO_NODE', `none of the ${fitting.size} nodes that fit '${where.slice(0, 200)}' can run a job now (${reasons})`);
}

import { limits } from '../limits.ts';

/**
 * Work time between two checkpoints that loses least in all, to checkpoints and to repeated work, when nodes fail at random.
 * First order by J. W. Young, "A first order approximation to the optimum checkpoint interval", CACM 17(9), 1974: sqrt(2·C·M); here with the further terms of
 * J. T. Daly, "A higher order estimate of the optimum checkpoint interval for restart dumps", FGCS 22(3), 2006, eq. 37.
 * @param cost_ms C, what a checkpoint takes
 * @param mtbf_ms M, mean time between the failures of a node
 */
export function optimalInterval(cost_ms: number, mtbf_ms: number): number {
  const share = cost_ms / (2 * mtbf_ms);
  return share >= 1 ? mtbf_ms : Math.sqrt(2 * cost_ms * mtbf_ms) * (1 + Math.sqrt(share) / 3 + share / 9) - cost_ms;
}

/**
 * From the end of a checkpoint to the next one. The whole time that it took counts as its cost, though a job that is copied while it runs stands still for a part of
 * it only: copying takes its node's time too.
 * @param asked_s what the user or the VO asked for; 0: it is found
 */
export function nextInterval(asked_s: number, cost_ms: number, mtbf_ms: number): number {
  // Whatever was asked for, a job shall work more than it is stored.
  if (asked_s > 0) return Math.max(asked_s * 1000, cost_ms * limits.asked_cost_times_min);
  const most = Math.max(limits.interval_ms_max, cost_ms * limits.found_cost_times_min);
  return Math.min(Math.max(optimalInterval(cost_ms, mtbf_ms), limits.interval_ms_min, cost_ms * limits.found_cost_times_min), most);
}

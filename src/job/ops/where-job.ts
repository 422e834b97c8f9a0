import type { Jobs } from '../jobs.ts';
import { choose, type Candidate } from '../placement.ts';

/** xosd.sock `jobs.place`: where a job that leaves would go now, and what that was decided by. Anyone may ask. */
export function placeJob(jobs: Jobs): { readonly node: string | null; readonly here: string; readonly why: string; readonly candidates: readonly Candidate[] } {
  const candidates = jobs.selector.candidates();
  const choice = choose(candidates, jobs.context.node);
  return { node: choice?.node ?? null, here: jobs.context.node, why: choice?.why ?? 'no node of the VO can run a job now', candidates };
}

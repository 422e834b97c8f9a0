import type { JobRow } from '../../job/rows.ts';
import type { Job } from '../../job/model.ts';
import type { NodeRow } from '../../job/rows.ts';
import type { Candidate } from '../../job/placement.ts';

/** Operations on jobs, from any node. A user sees and signals own jobs; root and members with the role `admin` all of them. */
export interface JobOperations {
  /** Jobs come in portions. `all`: everybody's; `ended`: also what ended in the last ten minutes. `silent`: nodes that did not answer within a second. */
  'job-list': {
    request: { readonly all?: boolean; readonly ended?: boolean };
    progress: { readonly jobs: readonly JobRow[] };
    response: { readonly silent: readonly string[] };
  };
  /** `job`: an id, or the pid of a proxy on this node. `signal`: 0 to 64; 0 only asks whether the job is there. */
  'job-signal': { request: { readonly job: string; readonly signal: number }; response: { readonly job: string } };
  /** Answers when the job has ended or is lost, or after `turn_ms` (at most 20 s) with the job as it is then. */
  'job-wait': { request: { readonly job: string; readonly turn_ms: number }; response: { readonly job: Job } };
  /** Where a job that leaves this node would go now. */
  'job-place': {
    request: Record<never, never>;
    response: { readonly node: string | null; readonly here: string; readonly why: string; readonly candidates: readonly Candidate[] };
  };
  /** The best node that fits a query (xrun --where): RSS finds nodes, they are asked for their load, the ranking is that of placement. */
  'job-choose': { request: { readonly where: string }; response: { readonly node: string; readonly why: string } };
  /** The nodes of the VO with their state and load, as this node sees them. */
  'node-states': { request: Record<never, never>; response: { readonly vo: string; readonly nodes: readonly NodeRow[] } };
}

import type { Decided, PolicyKey } from '../../isolation/policy.ts';

/** What the VO may have on this node; any process may ask. */
export interface IsolationOperations {
  'node-limits': { request: Record<never, never>; response: NodeLimits };
}

export interface NodeLimits {
  readonly node: string;
  readonly vo: string;
  /** False on a node without cgroup v2: processor, memory, processes and network are not limited there; what cells see is. */
  readonly enforced: boolean;
  /** Control group of the VO below /sys/fs/cgroup; null without one. */
  readonly group: string | null;
  /** Why it is not so now; empty when it is. */
  readonly problem: string;
  readonly limits: readonly ({ readonly key: PolicyKey } & Decided)[];
}

import type { JobState, ServiceState } from './model.ts';

// What the x-commands print; pure, since src/api names it.

/** A job as `xps --json` prints it. */
export interface JobRow {
  readonly id: string;
  readonly name: string;
  readonly argv: readonly string[];
  readonly node: string;
  readonly home: string;
  readonly state: JobState;
  readonly user: string;
  readonly vo: string;
  readonly uid: number;
  readonly cpu_seconds: number;
  readonly memory_bytes: number;
  readonly processes: number;
  readonly proxy_pid: number;
  readonly started_ms: number | null;
  readonly ended_ms: number | null;
  readonly exit_code: number | null;
  readonly exit_signal: number | null;
  /** Why it is lost; empty otherwise. */
  readonly reason: string;
  /** Seconds between the checkpoints that are taken of it, 0 when they are found; null when it is not protected. */
  readonly protect_s: number | null;
  /** When the one was made from which it would go on; null when there is none. */
  readonly checkpoint_ms: number | null;
}

/** A node as `xnode list --json` prints it. */
export interface NodeRow {
  readonly node: string;
  readonly address: string;
  readonly port: number;
  readonly roles: readonly string[];
  /** `ready` when all services of its roles are up, `starting` while one is not, `silent`, `invited`, `revoked`. */
  readonly state: NodeState;
  readonly services: readonly ServiceState[];
  readonly cpus: number;
  readonly running: number;
  readonly load: number;
  readonly free_cpus: number;
  readonly memory_free_bytes: number;
  readonly memory_total_bytes: number;
  /** Whether it gets new jobs now. */
  readonly eligible: boolean;
  /** Why it is not ready, or gets no jobs; empty otherwise. */
  readonly detail: string;
  /** Whether this is the node that was asked. */
  readonly here: boolean;
}
export type NodeState = 'ready' | 'starting' | 'silent' | 'invited' | 'revoked';

/** What a job can be doing (docs/architecture.md, relayd.ctl). `recovering`: its node is lost, and it is to go on elsewhere from its checkpoint. `ended` and `lost` are final unless a checkpoint of it is restored. */
export const job_states = ['starting', 'running', 'stopped', 'checkpointing', 'checkpointed', 'restoring', 'recovering', 'ended', 'lost'] as const;
export type JobState = (typeof job_states)[number];

export const isFinal = (state: JobState): boolean => state === 'ended' || state === 'lost';

/** A job as its home node knows it. Times are milliseconds since 1970 of the home's clock. */
export interface Job {
  /** `n1-42` */
  readonly id: string;
  readonly name: string;
  readonly argv: readonly string[];
  /** Where it runs, or ran last. */
  readonly node: string;
  readonly state: JobState;
  readonly session: string;
  readonly uid: number;
  readonly user: string;
  readonly vo: string;
  /** Process that stands for the job on its home node; 0 when there is none. */
  readonly proxy_pid: number;
  readonly started_ms: number;
  readonly ended_ms: number | null;
  readonly exit_code: number | null;
  readonly exit_signal: number | null;
  /** CPU used until it ended; null while it runs (then its cell is asked). */
  readonly cpu_seconds: number | null;
  /** Why it is lost; empty otherwise. */
  readonly reason: string;
  /** Seconds between the checkpoints that are taken of it, 0 when they are found; null when it is not protected. */
  readonly protect_s: number | null;
  /** When the one was made from which it would go on; null when there is none. */
  readonly checkpoint_ms: number | null;
}

/** What a job uses on the node where it runs. */
export interface Usage {
  readonly job: string;
  readonly home: string;
  readonly uid: number;
  readonly processes: number;
  readonly cpu_seconds: number;
  readonly memory_bytes: number;
}

/** What a node tells about itself. CPUs are counted in whole ones, load in CPUs. */
export interface LoadReport {
  readonly node: string;
  readonly cpus: number;
  /** Grid jobs that hold a CPU here, wherever their home is. */
  readonly running: number;
  /** Whole CPUs in use by anything else, smoothed. */
  readonly load: number;
  readonly memory_free_bytes: number;
  readonly memory_total_bytes: number;
}

/** A service that a node's roles ask for. */
export interface ServiceState {
  readonly name: string;
  readonly up: boolean;
  /** Why it is not up; empty otherwise. */
  readonly detail: string;
}

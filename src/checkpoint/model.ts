/** What goes in and out of the operations; imports nothing of the service, so that src/api can name it. */
/** What the relay tells while it works. */
export interface CheckpointProgress {
  readonly phase: string;
  readonly bytes: number;
  readonly bytes_total: number;
}

/** Something that stands in the way of a checkpoint (native/checkpoint/src/engine.h, Obstacle). */
export interface Obstacle {
  readonly code: string;
  readonly pid: number;
  readonly program: string;
  readonly what: string;
  readonly advice: string;
  /** False: it may still work. */
  readonly certain: boolean;
}

export interface Checked {
  readonly job: string;
  readonly program: string;
  readonly node: string;
  readonly obstacles: readonly Obstacle[];
}

export interface CreateRequest {
  /** Id of the job, or pid of its proxy on this node. */
  readonly job: string;
  /** null: `<program>-<job>-<n>`. */
  readonly name: string | null;
  /** The job goes on after it; otherwise it ends and its proxy waits. */
  readonly leave_running: boolean;
}

export interface Created {
  readonly job: string;
  readonly program: string;
  readonly node: string;
  readonly name: string;
  readonly directory: string;
  readonly bytes: number;
  readonly processes: number;
  /** How long it stood still. */
  readonly frozen_ms: number;
  /** Whether its memory was stored while it ran on (docs/decisions/0028-copy-on-write-capture.md) or while it stood still. */
  readonly way: 'copy-on-write' | 'plain';
  /** Why it stood still all the time though it was to go on; else null. */
  readonly why_plain: string | null;
  readonly total_ms: number;
}

export interface MigrateRequest {
  /** Id of the job, or pid of its proxy on this node. */
  readonly job: string;
  /** null: the scheduler chooses. */
  readonly node: string | null;
}

export interface Migrated {
  readonly job: string;
  readonly program: string;
  readonly from: string;
  readonly node: string;
  readonly bytes: number;
  readonly processes: number;
  /** From its last instruction on the one node to its first on the other. */
  readonly standstill_ms: number;
}

export interface RestartRequest {
  readonly name: string;
  /** null: the scheduler chooses. */
  readonly node: string | null;
  /** False: the caller attaches to the job when it has no proxy, and its output waits for that. */
  readonly detach: boolean;
  /** Job that an earlier restart of this checkpoint became; empty when there was none. */
  readonly earlier: string;
  /** Go on when the home of the job does not answer. */
  readonly force: boolean;
}

export interface Restarted {
  readonly job: string;
  readonly program: string;
  readonly node: string;
  readonly name: string;
  /** The proxy that was there goes on with it; else there is none yet. */
  readonly continued: boolean;
  readonly bytes: number;
  readonly processes: number;
  readonly total_ms: number;
}

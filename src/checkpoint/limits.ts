import { day_ms, hour_ms, kib, mib, second_ms } from '../core/units.ts';

/** The bounds of checkpoints, in one place. Units are last in the name. */
export const limits = {
  name_characters_max: 64,
  /** A manifest lists processes and files; the engine reads at most as much. */
  manifest_bytes_max: 64 * mib,
  /** What of a program's name goes into the name of its checkpoint. */
  program_characters_max: 32,
  list_deadline_ms: 2 * second_ms,
  signal_deadline_ms: 2 * second_ms,
  restarted_bytes_max: 4 * kib,

  /** Protected jobs: a job that is over by then costs no checkpoint. */
  first_ms: 5 * second_ms,
  /** Bounds of an interval that is found, not asked for. */
  interval_ms_min: 30 * second_ms,
  interval_ms_max: hour_ms,
  /** An interval is at least so many times what a checkpoint takes: found by itself, and asked for. */
  found_cost_times_min: 20,
  asked_cost_times_min: 2,
  /** When nobody says how often nodes fail. A personal machine is restarted or put away about once a week. */
  mtbf_ms: 7 * day_ms,
  /** After a checkpoint that failed; doubled each time. */
  retry_ms_min: 30 * second_ms,
  retry_ms_max: hour_ms,
  /** A job that is busy otherwise, stopped by a checkpoint or on its way elsewhere is looked at again. */
  look_ms: 2 * second_ms,
  protect_deadline_ms: hour_ms,
  remove_deadline_ms: 60 * second_ms,
  /** The checkpoint of a job that was lost, or that nobody knows any more, is kept for its owner. */
  orphan_ms: 7 * day_ms,
  list_portion: 200,
} as const;

import { kib, mib, second_ms } from '../core/units.ts';

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
} as const;

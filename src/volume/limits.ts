import { minute_ms, second_ms } from '../core/units.ts';

/** The bounds of the directory of servers, in one place. Units are last in the name. */
export const limits = {
  /** How often a server's xosd reports to the DIR. */
  report_interval_ms: 2 * second_ms,
  /** The same while something is missing (no key yet, an empty map): a node that has just started should not wait. */
  report_interval_first_ms: 250,
  report_deadline_ms: 3 * second_ms,
  /** A server that was silent for this long is down. */
  silence_ms: 8 * second_ms,
  /** One turn of a mount's watch; the next one follows at once. */
  watch_turn_ms: 5 * second_ms,
  watch_margin_ms: 3 * second_ms,
  /** A mount that has not watched for this long is gone: its locks and leases are dropped. */
  mount_silence_ms: 20 * second_ms,
  servers_max: 10_000,
  /** Free space is told in steps of this, so that the map does not change with every write. */
  free_step_bytes: 64 * 1024 * 1024,
  key_bytes: 32,
  /** Removing a volume takes as long as its tree is deep. */
  volume_deadline_ms: minute_ms,
  /** A look at every inode: seconds for a million. */
  check_deadline_ms: 10 * minute_ms,
  /** A server's metrics: it has them in memory. */
  monitor_deadline_ms: 3 * second_ms,
  /** Between two looks at how far long work is. */
  progress_interval_ms: 500,
  /** Of a dump or restore, in one message. */
  transfer_piece_bytes: 256 * 1024,
  visible_poll_ms: 20,
  visible_ms: 15 * second_ms,
  volume_name_max: 64,
} as const;

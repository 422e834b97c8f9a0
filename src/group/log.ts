/**
 * An ordered, durable log with one holder at a time. Entries are numbered from 1. Two implementations keep the contract of
 * test/group/log-contract.ts: LMDB on the local disk (lmdb-log.ts) and one in memory (memory-log.ts). A third one, on etcd, fits by
 * keeping the tail under /log/INDEX and the fence in a key that every append compares in its transaction; snapshots then stay local.
 */
export interface OrderedLog {
  /**
   * Becomes the holder: takes a fence greater than every earlier one, so that whoever held the log before can append no more.
   * Called once, before anything else.
   */
  open(): Promise<LogStart>;
  /** Entries after `index`, in order. */
  read(after: number): AsyncIterable<LogEntry>;
  /**
   * Appends all or nothing, and resolves with the index of the last one once they are durable. `last` is the index that the holder
   * believes to be the last. Rejects with XOS_FENCED (another holder came: stop), XOS_LOG_CONFLICT (`last` is not the last), or
   * XOS_LOG (disk full, I/O error: nothing was appended).
   */
  append(entries: readonly Uint8Array[], last: number): Promise<number>;
  /** Keeps `state` as the effect of all entries up to `index`, and forgets those, in one step. Rejects as append does. */
  snapshot(index: number, state: Uint8Array): Promise<void>;
  /** Idempotent. */
  close(): Promise<void>;
}

export interface LogStart {
  readonly fence: number;
  readonly snapshot: Snapshot | null;
  /** Index of the last entry; that of the snapshot when none follows, 0 for an empty log. */
  readonly last: number;
}

export interface Snapshot {
  readonly index: number;
  readonly state: Uint8Array;
}

export interface LogEntry {
  readonly index: number;
  readonly data: Uint8Array;
}

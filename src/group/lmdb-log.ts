import { open, type RootDatabase } from 'lmdb';
import { XosError, describe, hasCode } from '../core/errors.ts';
import { conflict, fenced } from './memory-log.ts';
import type { LogEntry, LogStart, OrderedLog } from './log.ts';

const fence_key = 'fence';
const snapshot_key = 'snapshot';
const snapshot_index_key = 'snapshot-index';
const entry_key = (index: number): [string, number] => ['entry', index];

/**
 * The embedded log: one LMDB environment in a directory of its own. A transaction is durable when it resolves: overlappingSync is off,
 * so LMDB's commit itself waits for the disk (with it on, lmdb-js tells of a commit before its sync).
 */
export class LmdbLog implements OrderedLog {
  readonly #directory: string;
  #db: RootDatabase<Buffer, string | [string, number]> | null = null;
  #fence = 0;

  constructor(directory: string) {
    this.#directory = directory;
  }

  async open(): Promise<LogStart> {
    try {
      this.#db = open<Buffer, string | [string, number]>({
        path: this.#directory,
        noSubdir: false,
        encoding: 'binary',
        overlappingSync: false,
        maxReaders: 16,
        mapSize: 64 * 1024 * 1024, // grows by itself
      });
      const db = this.#db;
      this.#fence = await db.transaction(() => {
        const fence = this.#number(fence_key) + 1;
        db.put(fence_key, encodeNumber(fence));
        return fence;
      });
    } catch (cause) {
      throw new XosError('XOS_LOG', `cannot open the log in '${this.#directory}': ${describe(cause)}`, { directory: this.#directory }, { cause });
    }
    const state = this.#db.get(snapshot_key);
    const snapshot = state === undefined ? null : { index: this.#number(snapshot_index_key), state };
    return { fence: this.#fence, snapshot, last: this.#last() };
  }

  async *read(after: number): AsyncIterable<LogEntry> {
    for (const { key, value } of this.#open().getRange({ start: entry_key(after + 1), end: entry_key(Number.MAX_SAFE_INTEGER) })) {
      yield { index: (key as [string, number])[1], data: value };
    }
  }

  async append(entries: readonly Uint8Array[], last: number): Promise<number> {
    return await this.#write((db) => {
      if (last !== this.#last()) throw conflict(last, this.#last());
      entries.forEach((data, offset) => void db.put(entry_key(last + 1 + offset), Buffer.from(data)));
      return last + entries.length;
    });
  }

  async snapshot(index: number, state: Uint8Array): Promise<void> {
    await this.#write((db) => {
      const first = this.#number(snapshot_index_key);
      if (index > this.#last() || index < first) throw conflict(index, this.#last());
      for (let gone = first + 1; gone <= index; gone++) db.remove(entry_key(gone));
      db.put(snapshot_key, Buffer.from(state));
      db.put(snapshot_index_key, encodeNumber(index));
    });
  }

  async close(): Promise<void> {
    const db = this.#db;
    this.#db = null;
    await db?.close();
  }

  /** `work` runs in one write transaction and checks before it writes, so that a refusal leaves nothing behind. */
  async #write<T>(work: (db: RootDatabase<Buffer, string | [string, number]>) => T): Promise<T> {
    const db = this.#open();
    try {
      return await db.transaction(() => {
        const present = this.#number(fence_key);
        if (present !== this.#fence) throw fenced(this.#fence, present);
        return work(db);
      });
    } catch (cause) {
      if (hasCode(cause, 'XOS_FENCED', 'XOS_LOG_CONFLICT')) throw cause;
      throw new XosError('XOS_LOG', `cannot write to the log in '${this.#directory}': ${describe(cause)}`, { directory: this.#directory }, { cause });
    }
  }

  #open(): RootDatabase<Buffer, string | [string, number]> {
    if (this.#db === null) throw new XosError('XOS_LOG', `cannot use the log in '${this.#directory}': it is not open`);
    return this.#db;
  }

  #number(key: string): number {
    const value = this.#open().get(key);
    return value === undefined ? 0 : Number(value.readBigUInt64LE());
  }

  #last(): number {
    const [key] = this.#open().getKeys({ start: entry_key(Number.MAX_SAFE_INTEGER), end: entry_key(0), reverse: true, limit: 1 });
    return key === undefined ? this.#number(snapshot_index_key) : (key as [string, number])[1];
  }
}

function encodeNumber(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

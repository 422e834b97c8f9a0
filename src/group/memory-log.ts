import { XosError } from '../core/errors.ts';
import type { LogEntry, LogStart, OrderedLog, Snapshot } from './log.ts';

/** What survives: give the same store to a new MemoryLog to restart, or to a second one to take the log over. */
export interface MemoryStore {
  fence: number;
  snapshot: Snapshot | null;
  entries: LogEntry[];
}

export const memoryStore = (): MemoryStore => ({ fence: 0, snapshot: null, entries: [] });

export interface MemoryLogOptions {
  /** Called before each append takes effect; may wait or throw: how a simulator brings in delays and a full disk. */
  readonly beforeAppend?: () => Promise<void>;
}

/** The log of tests and of the simulator. */
export class MemoryLog implements OrderedLog {
  readonly #store: MemoryStore;
  readonly #options: MemoryLogOptions;
  #fence = 0;
  #closed = false;

  constructor(store: MemoryStore, options: MemoryLogOptions = {}) {
    this.#store = store;
    this.#options = options;
  }

  async open(): Promise<LogStart> {
    this.#fence = ++this.#store.fence;
    return { fence: this.#fence, snapshot: this.#store.snapshot, last: this.#last() };
  }

  async *read(after: number): AsyncIterable<LogEntry> {
    for (const entry of [...this.#store.entries]) if (entry.index > after) yield entry;
  }

  async append(entries: readonly Uint8Array[], last: number): Promise<number> {
    this.#check();
    await this.#options.beforeAppend?.();
    this.#check();
    if (last !== this.#last()) throw conflict(last, this.#last());
    for (const data of entries) this.#store.entries.push({ index: this.#last() + 1, data: data.slice() });
    return this.#last();
  }

  async snapshot(index: number, state: Uint8Array): Promise<void> {
    this.#check();
    if (index > this.#last() || index < (this.#store.snapshot?.index ?? 0)) throw conflict(index, this.#last());
    this.#store.snapshot = { index, state: state.slice() };
    this.#store.entries = this.#store.entries.filter((entry) => entry.index > index);
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  #last(): number {
    return this.#store.entries.at(-1)?.index ?? this.#store.snapshot?.index ?? 0;
  }

  #check(): void {
    if (this.#closed || this.#fence === 0) throw new XosError('XOS_LOG', 'cannot write to the log: it is not open');
    if (this.#fence !== this.#store.fence) throw fenced(this.#fence, this.#store.fence);
  }
}

export const conflict = (believed: number, last: number): XosError =>
  new XosError('XOS_LOG_CONFLICT', `cannot write after entry ${believed}: the last entry of the log is ${last}`, { believed, last });

export const fenced = (own: number, present: number): XosError =>
  new XosError('XOS_FENCED', `cannot write to the log with fence ${own}: another holder has taken it over with ${present}`, { own, present });

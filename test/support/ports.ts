import type { Clock, Log, Random } from '../../src/core/ports.ts';
import { createHash } from 'node:crypto';

export const quietLog: Log = { debug() {}, info() {}, warn() {}, error() {}, child: () => quietLog };

/** A log that keeps its lines. */
export function keptLog(): { log: Log; lines: string[] } {
  const lines: string[] = [];
  const say = (message: string, fields = {}): void => void lines.push(`${message} ${JSON.stringify(fields)}`);
  const log: Log = { debug: say, info: say, warn: say, error: say, child: () => log };
  return { log, lines };
}

/** Time that moves when told; sleepers wake as it passes them. */
export class ManualClock implements Clock {
  #now_ms: number;
  #sleepers: { at_ms: number; wake: () => void }[] = [];

  constructor(now_ms = Date.UTC(2026, 0, 1)) {
    this.#now_ms = now_ms;
  }
  now_ms = (): number => this.#now_ms;
  monotonic_ms = (): number => this.#now_ms;
  sleep = (ms: number, signal?: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason as Error);
      this.#sleepers.push({ at_ms: this.#now_ms + ms, wake: resolve });
      signal?.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
    });
  deadline = (ms: number, signal?: AbortSignal): AbortSignal => {
    const controller = new AbortController();
    this.#sleepers.push({ at_ms: this.#now_ms + ms, wake: () => controller.abort(new DOMException('late', 'TimeoutError')) });
    return signal === undefined ? controller.signal : AbortSignal.any([controller.signal, signal]);
  };
  advance(ms: number): void {
    this.#now_ms += ms;
    const due = this.#sleepers.filter((sleeper) => sleeper.at_ms <= this.#now_ms);
    this.#sleepers = this.#sleepers.filter((sleeper) => sleeper.at_ms > this.#now_ms);
    for (const sleeper of due) sleeper.wake();
  }
}

/** Chance from a seed: the same seed, the same bytes. */
export function seededRandom(seed: string): Random {
  let counter = 0;
  const bytes = (count: number): Buffer => {
    const parts: Buffer[] = [];
    for (let size = 0; size < count; size += 32) parts.push(createHash('sha256').update(`${seed}:${counter++}`).digest());
    return Buffer.concat(parts).subarray(0, count);
  };
  return { bytes, integer: (below) => bytes(6).readUIntBE(0, 6) % below };
}

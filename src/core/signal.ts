import type { Clock, Log } from './ports.ts';
import { describe, isAbort } from './errors.ts';

/** A set of listeners; one that throws does not keep the others from hearing. */
export class Listeners<Args extends readonly unknown[]> {
  readonly #listeners = new Set<(...args: Args) => void>();

  add(listener: (...args: Args) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  emit(...args: Args): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener(...args);
      } catch (thrown) {
        // A listener's fault is its own; reported as an unhandled rejection would be, without ending the emitter's work.
        queueMicrotask(() => process.emitWarning(`a listener failed: ${describe(thrown)}`));
      }
    }
  }
}

/**
 * Runs `work` again and again with growing pauses until `signal` aborts: for connections that must come back by themselves.
 * A run that lasted longer than `ms_max` starts the pauses anew.
 */
export async function keepTrying(
  work: () => Promise<void>,
  options: { clock: Clock; log: Log; what: string; signal: AbortSignal; ms_min: number; ms_max: number },
): Promise<void> {
  let pause_ms = options.ms_min;
  let said = '';
  while (!options.signal.aborted) {
    const started_ms = options.clock.monotonic_ms();
    try {
      await work();
    } catch (thrown) {
      if (options.signal.aborted) return;
      const reason = describe(thrown);
      // The same reason is told once, not at every attempt.
      if (reason !== said && !isAbort(thrown)) options.log.warn(`${options.what} failed, trying again`, { reason });
      said = reason;
    }
    if (options.clock.monotonic_ms() - started_ms > options.ms_max) pause_ms = options.ms_min;
    try {
      await options.clock.sleep(pause_ms, options.signal);
    } catch {
      return;
    }
    pause_ms = Math.min(pause_ms * 2, options.ms_max);
  }
}

/** Runs one at a time and remembers that it was asked again while it ran: for "bring the world up to the state" work. */
export function coalesce(work: () => Promise<void>, failed: (thrown: unknown) => void): () => void {
  let running = false;
  let again = false;
  const run = async (): Promise<void> => {
    running = true;
    do {
      again = false;
      try {
        await work();
      } catch (thrown) {
        failed(thrown);
      }
    } while (again);
    running = false;
  };
  return () => {
    again = true;
    if (!running) void run();
  };
}

import type { Clock } from '../../core/ports.ts';

interface Timer {
  readonly at_ms: number;
  readonly handle: number;
  what: (() => void) | null;
}

/** Many timers over one sleep of the clock: a protocol makes and cancels them by the hundred. */
export class Timers {
  readonly #clock: Clock;
  readonly #failed: (thrown: unknown) => void;
  /** A binary heap by time, then by order. */
  readonly #heap: Timer[] = [];
  readonly #open = new Map<number, Timer>();
  #next = 0;
  #sleeping: { readonly until_ms: number; readonly wake: AbortController } | null = null;
  #stopped = false;

  constructor(clock: Clock, failed: (thrown: unknown) => void) {
    this.#clock = clock;
    this.#failed = failed;
  }

  add(delay_ms: number, what: () => void): number {
    const timer: Timer = { at_ms: this.#clock.monotonic_ms() + Math.max(0, delay_ms), handle: this.#next++, what };
    this.#push(timer);
    this.#open.set(timer.handle, timer);
    this.#sleep();
    return timer.handle;
  }

  cancel(handle: number): void {
    const timer = this.#open.get(handle);
    if (timer === undefined) return;
    timer.what = null;
    this.#open.delete(handle);
  }

  stop(): void {
    this.#stopped = true;
    this.#open.clear();
    this.#heap.length = 0;
    this.#sleeping?.wake.abort();
    this.#sleeping = null;
  }

  #sleep(): void {
    const first = this.#heap[0];
    if (this.#stopped || first === undefined || (this.#sleeping !== null && this.#sleeping.until_ms <= first.at_ms)) return;
    this.#sleeping?.wake.abort();
    const sleeping = { until_ms: first.at_ms, wake: new AbortController() };
    this.#sleeping = sleeping;
    const done = (): void => {
      if (this.#sleeping !== sleeping) return;
      this.#sleeping = null;
      this.#fire();
      this.#sleep();
    };
    this.#clock.sleep(Math.max(0, first.at_ms - this.#clock.monotonic_ms()), sleeping.wake.signal).then(done, () => {});
  }

  #fire(): void {
    // A timer sleeps whole milliseconds: what is due within the next one is due.
    const now_ms = this.#clock.monotonic_ms() + 1;
    for (let first = this.#heap[0]; first !== undefined && first.at_ms <= now_ms && !this.#stopped; first = this.#heap[0]) {
      this.#pop();
      this.#open.delete(first.handle);
      try {
        first.what?.();
      } catch (thrown) {
        this.#failed(thrown);
      }
    }
  }

  #push(timer: Timer): void {
    const heap = this.#heap;
    let at = heap.push(timer) - 1;
    for (let up = (at - 1) >> 1; at > 0 && before(timer, heap[up]!); up = (at - 1) >> 1) {
      heap[at] = heap[up]!;
      at = up;
    }
    heap[at] = timer;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let down = 2 * at + 1;
      if (down + 1 < heap.length && before(heap[down + 1]!, heap[down]!)) down++;
      if (down >= heap.length || !before(heap[down]!, last)) break;
      heap[at] = heap[down]!;
      at = down;
    }
    heap[at] = last;
  }
}

const before = (a: Timer, b: Timer): boolean => a.at_ms < b.at_ms || (a.at_ms === b.at_ms && a.handle < b.handle);

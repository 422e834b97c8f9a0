/** A token bucket: `per_second` on average, `burst` at once. */
export class Bucket {
  readonly #per_second: number;
  readonly #burst: number;
  #tokens: number;
  #at_ms: number;

  constructor(per_second: number, burst: number, now_ms: number) {
    this.#per_second = per_second;
    this.#burst = burst;
    this.#tokens = burst;
    this.#at_ms = now_ms;
  }

  take(now_ms: number): boolean {
    this.#tokens = Math.min(this.#burst, this.#tokens + (Math.max(0, now_ms - this.#at_ms) / 1000) * this.#per_second);
    this.#at_ms = now_ms;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
}

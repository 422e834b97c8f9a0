import { nobody, recycle, type Message, type Peer } from '../overlay/core/index.ts';

const span_ms = 4096;

/**
 * Messages under way, by the millisecond of their arrival: a wheel of four seconds. Each millisecond is a list that is linked through
 * `next`, so that the memory is that of the messages under way and not of the busiest moment of each slot.
 */
export class Flight {
  readonly #first = new Uint32Array(span_ms).fill(nobody);
  readonly #last = new Uint32Array(span_ms).fill(nobody);
  #next = new Uint32Array(1024);
  #to = new Uint32Array(1024);
  #from = new Uint32Array(1024);
  readonly #messages: (Message | null)[] = [];
  /** The next messages, for `touch`. */
  readonly #soon_to = new Uint32Array(touched);
  readonly #soon: (Message | null)[] = Array.from({ length: touched }, () => null);
  #free = nobody;
  #under_way = 0;

  get under_way(): number {
    return this.#under_way;
  }

  #take(): number {
    if (this.#free !== nobody) {
      const taken = this.#free;
      this.#free = this.#next[taken]!;
      return taken;
    }
    const taken = this.#messages.length;
    if (taken === this.#next.length) {
      this.#next = doubled(this.#next);
      this.#to = doubled(this.#to);
      this.#from = doubled(this.#from);
    }
    this.#messages.push(null);
    return taken;
  }

  /** `at_ms` is a whole number after the present millisecond; what is later than the wheel is long comes at its end. */
  put(now_ms: number, at_ms: number, from: Peer, to: Peer, message: Message): void {
    const slot = Math.min(at_ms, now_ms + span_ms - 1) % span_ms;
    const at = this.#take();
    this.#next[at] = nobody;
    this.#to[at] = to;
    this.#from[at] = from;
    this.#messages[at] = message;
    if (this.#first[slot] === nobody) this.#first[slot] = at;
    else this.#next[this.#last[slot]!] = at;
    this.#last[slot] = at;
    this.#under_way++;
  }

  /**
   * Hands over what arrives at `at_ms`, in the order of sending. `touch` is called for some of them ahead of time: it may read what they
   * will need, so that the processor fetches it for many at once instead of for one after the other.
   */
  deliver(at_ms: number, touch: (to: Uint32Array, messages: readonly (Message | null)[], count: number) => void, hand: (to: Peer, from: Peer, message: Message) => void): void {
    const slot = at_ms % span_ms;
    let ahead = this.#first[slot]!;
    this.#first[slot] = nobody;
    for (let at = ahead, count = 0; at !== nobody; count++) {
      if (count % touched === 0) {
        let some = 0;
        for (; some < touched && ahead !== nobody; some++, ahead = this.#next[ahead]!) {
          this.#soon_to[some] = this.#to[ahead]!;
          this.#soon[some] = this.#messages[ahead]!;
        }
        touch(this.#soon_to, this.#soon, some);
      }
      const message = this.#messages[at]!;
      const next = this.#next[at]!;
      hand(this.#to[at]!, this.#from[at]!, message);
      recycle(message);
      this.#messages[at] = null;
      this.#next[at] = this.#free;
      this.#free = at;
      this.#under_way--;
      at = next;
    }
  }
}

/** Messages that are touched ahead: their rows fit the second-level cache. */
const touched = 32;

function doubled(old: Uint32Array<ArrayBuffer>): Uint32Array<ArrayBuffer> {
  const grown = new Uint32Array(old.length * 2);
  grown.set(old);
  return grown;
}

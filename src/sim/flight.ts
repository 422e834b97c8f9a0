import { recycle, type Message, type Peer } from '../overlay/core/index.ts';

const span_ms = 4096;

/** What one millisecond will bring: parallel lists, used again when the wheel comes round. */
class Slot {
  count = 0;
  readonly to: Peer[] = [];
  readonly from: Peer[] = [];
  readonly messages: (Message | null)[] = [];
}

/** Messages under way, by the millisecond of their arrival: a wheel of four seconds. */
export class Flight {
  readonly #slots = Array.from({ length: span_ms }, () => new Slot());
  #under_way = 0;

  get under_way(): number {
    return this.#under_way;
  }

  /** `at_ms` is a whole number after the present millisecond; what is later than the wheel is long comes at its end. */
  put(now_ms: number, at_ms: number, from: Peer, to: Peer, message: Message): void {
    const slot = this.#slots[Math.min(at_ms, now_ms + span_ms - 1) % span_ms]!;
    const at = slot.count++;
    slot.to[at] = to;
    slot.from[at] = from;
    slot.messages[at] = message;
    this.#under_way++;
  }

  /** Hands over what arrives at `at_ms`, in the order of sending. */
  deliver(at_ms: number, hand: (to: Peer, from: Peer, message: Message) => void): void {
    const slot = this.#slots[at_ms % span_ms]!;
    for (let i = 0; i < slot.count; i++) {
      const message = slot.messages[i]!;
      hand(slot.to[i]!, slot.from[i]!, message);
      slot.messages[i] = null;
      recycle(message);
    }
    this.#under_way -= slot.count;
    slot.count = 0;
  }
}

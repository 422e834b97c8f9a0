import { nobody, type Peer } from '../core/peer.ts';
import { mix32 } from '../core/random.ts';
import { limits } from './limits.ts';

/** One message of a publisher as it travels: sealed (signed) bytes that the tree does not look into. */
export interface Kept {
  readonly origin: Origin;
  readonly epoch: number;
  readonly seq: number;
  readonly bytes: Uint8Array;
  readonly at_ms: number;
  /** Links that it came over, and the peer at the last one; `nobody` for an own message and one that was asked for. */
  readonly hops: number;
  readonly from: Peer;
}

/** What is known of one publisher. Its messages are numbered from 1 in each of its epochs (a life of its xosd). */
export interface Origin {
  readonly id: number;
  epoch: number;
  /** All up to this one were handed on, or counted as missed. */
  contiguous: number;
  /** The greatest number that anybody told of. */
  highest: number;
  readonly messages: Map<number, Kept>;
  /** Since when a message waits for one before it; -1: none does. */
  waiting_ms: number;
  changed_ms: number;
  tokens: number;
  tokens_ms: number;
}

export interface DigestEntry {
  readonly origin: number;
  readonly epoch: number;
  readonly contiguous: number;
  /** The first one that can still be had here; contiguous + 1 when none can. */
  readonly oldest: number;
}

/** `full`: no room for another publisher; `flood`: this one publishes too fast. */
export type Arrival = 'new' | 'known' | 'stale' | 'flood' | 'full';

/**
 * The messages of all publishers that one node holds: bounded, in order per publisher, with a digest that is equal on two nodes
 * when they have heard the same.
 */
export class History {
  readonly #origins = new Map<number, Origin>();
  /** In the order of arrival; those before #head are gone. */
  #fifo: (Kept | null)[] = [];
  #head = 0;
  #bytes = 0;
  #digest = 0;
  readonly #waiting = new Set<Origin>();

  get digest(): number {
    return this.#digest >>> 0;
  }

  get messages(): number {
    return this.#fifo.length - this.#head;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get size(): number {
    return this.#origins.size;
  }

  get(id: number): Origin | null {
    return this.#origins.get(id) ?? null;
  }

  origins(): Iterable<Origin> {
    return this.#origins.values();
  }

  has(id: number, epoch: number, seq: number): boolean {
    const origin = this.#origins.get(id);
    return origin !== undefined && (epoch < origin.epoch || (epoch === origin.epoch && (seq <= origin.contiguous || origin.messages.has(seq))));
  }

  /** The record of a publisher, made or brought to a newer epoch: from then on the messages after `contiguous` are waited for. Null: no room. */
  open(id: number, epoch: number, contiguous: number, now_ms: number): Origin | null {
    const known = this.#origins.get(id);
    if (known !== undefined && epoch <= known.epoch) return known;
    if (known === undefined && this.#origins.size >= limits.origins_max && !this.#forgetOne()) return null;
    const origin: Origin = known ?? {
      id, epoch, contiguous, highest: contiguous, messages: new Map(), waiting_ms: -1, changed_ms: now_ms, tokens: limits.origin_messages_burst, tokens_ms: now_ms,
    };
    if (known !== undefined) {
      this.#digest ^= signature(known);
      this.#waiting.delete(known);
      // What is left of its former life goes by age.
      known.messages.clear();
      Object.assign(known, { epoch, contiguous, highest: contiguous, waiting_ms: -1, changed_ms: now_ms });
    }
    this.#origins.set(id, origin);
    this.#digest ^= signature(origin);
    return origin;
  }

  /** Takes a message whose publisher was verified. */
  add(id: number, epoch: number, seq: number, bytes: Uint8Array, now_ms: number, hops = 0, from: Peer = nobody): Arrival {
    const known = this.#origins.get(id);
    if (known !== undefined && epoch < known.epoch) return 'stale';
    const first = known === undefined ? (seq <= limits.first_seq_max ? 0 : seq - 1) : 0;
    const origin = this.open(id, epoch, first, now_ms);
    if (origin === null) return 'full';
    if (seq <= origin.contiguous || origin.messages.has(seq)) return 'known';
    if (!allow(origin, now_ms)) return 'flood';
    const kept: Kept = { origin, epoch, seq, bytes, at_ms: now_ms, hops, from };
    origin.messages.set(seq, kept);
    origin.changed_ms = now_ms;
    if (seq > origin.highest) origin.highest = seq;
    this.#fifo.push(kept);
    this.#bytes += bytes.length;
    this.#trim(origin, now_ms);
    return 'new';
  }

  /** The next message in order, taken over; null when it is not there. A message after it then waits. */
  advance(origin: Origin, now_ms: number): Kept | null {
    const next = origin.messages.get(origin.contiguous + 1);
    if (next !== undefined) {
      this.#move(origin, origin.contiguous + 1);
      return next;
    }
    const waits = origin.highest > origin.contiguous;
    if (!waits) {
      origin.waiting_ms = -1;
      this.#waiting.delete(origin);
    } else if (origin.waiting_ms < 0) {
      origin.waiting_ms = now_ms;
      this.#waiting.add(origin);
    }
    return null;
  }

  /** Gives up on the messages up to `seq` that did not come. Returns the first and last of the numbers that are missing. */
  skip(origin: Origin, seq: number): { readonly from: number; readonly to: number } | null {
    if (seq <= origin.contiguous) return null;
    const from = origin.contiguous + 1;
    this.#move(origin, seq);
    if (origin.highest < seq) origin.highest = seq;
    origin.waiting_ms = -1;
    return { from, to: seq };
  }

  /** Publishers whose next message has not come for `gap_wait_ms`, with the last number that is to be given up. */
  overdue(now_ms: number): readonly { readonly origin: Origin; readonly upTo: number }[] {
    const found: { origin: Origin; upTo: number }[] = [];
    for (const origin of this.#waiting) {
      if (now_ms - origin.waiting_ms < limits.gap_wait_ms) continue;
      let next = origin.highest + 1;
      for (const seq of origin.messages.keys()) if (seq > origin.contiguous && seq < next) next = seq;
      found.push({ origin, upTo: next - 1 });
    }
    return found;
  }

  /** What is missing between the last one in order and the greatest known, as ranges. */
  missing(origin: Origin, ranges_max: number): readonly { readonly from: number; readonly to: number }[] {
    const ranges: { from: number; to: number }[] = [];
    let from = 0;
    for (let seq = origin.contiguous + 1; seq <= origin.highest + 1 && ranges.length < ranges_max; seq++) {
      const absent = seq <= origin.highest && !origin.messages.has(seq);
      if (absent && from === 0) from = seq;
      else if (!absent && from !== 0) {
        ranges.push({ from, to: seq - 1 });
        from = 0;
      }
    }
    return ranges;
  }

  /** Kept messages of a publisher in order, from a number on. */
  * range(origin: Origin, from: number, to: number): Generator<Kept> {
    const seqs = [...origin.messages.keys()].filter((seq) => seq >= from && seq <= to).sort((a, b) => a - b);
    for (const seq of seqs) yield origin.messages.get(seq)!;
  }

  /** Publishers, those that changed last first. */
  entries(offset: number, count: number): readonly DigestEntry[] {
    return [...this.#origins.values()].sort((a, b) => b.changed_ms - a.changed_ms || a.id - b.id).slice(offset, offset + count)
      .map((origin) => ({ origin: origin.id, epoch: origin.epoch, contiguous: origin.contiguous, oldest: oldestOf(origin) }));
  }

  expire(now_ms: number): void {
    while (this.#head < this.#fifo.length && now_ms - this.#fifo[this.#head]!.at_ms > limits.history_ms) this.#drop();
    this.#compact();
  }

  #move(origin: Origin, contiguous: number): void {
    this.#digest ^= signature(origin);
    origin.contiguous = contiguous;
    this.#digest ^= signature(origin);
    if (origin.waiting_ms >= 0) {
      origin.waiting_ms = -1;
      this.#waiting.delete(origin);
    }
  }

  #trim(origin: Origin, now_ms: number): void {
    if (origin.messages.size > limits.history_per_origin_max + limits.gap_messages_max || (origin.messages.size > limits.history_per_origin_max && origin.waiting_ms < 0)) {
      const [first] = origin.messages.keys();
      if (first !== undefined && first <= origin.contiguous) origin.messages.delete(first);
    }
    while (this.messages > limits.history_messages_max || this.#bytes > limits.history_bytes_max) this.#drop();
    if (now_ms - (this.#fifo[this.#head]?.at_ms ?? now_ms) > limits.history_ms) this.expire(now_ms);
    this.#compact();
  }

  #drop(): void {
    const kept = this.#fifo[this.#head]!;
    // Until the array is compacted it would hold a thousand messages and more that are gone.
    this.#fifo[this.#head++] = null;
    this.#bytes -= kept.bytes.length;
    if (kept.origin.messages.get(kept.seq) === kept) kept.origin.messages.delete(kept.seq);
  }

  #compact(): void {
    if (this.#head < 1_024 || this.#head < this.#fifo.length / 2) return;
    this.#fifo = this.#fifo.slice(this.#head);
    this.#head = 0;
  }

  /** The publisher that was silent for longest and of which nothing is left. */
  #forgetOne(): boolean {
    let found: Origin | null = null;
    for (const origin of this.#origins.values()) {
      if (origin.messages.size === 0 && (found === null || origin.changed_ms < found.changed_ms)) found = origin;
    }
    if (found === null) return false;
    this.#origins.delete(found.id);
    this.#waiting.delete(found);
    this.#digest ^= signature(found);
    return true;
  }
}

export function oldestOf(origin: Origin): number {
  let oldest = origin.contiguous + 1;
  for (const seq of origin.messages.keys()) if (seq < oldest) oldest = seq;
  return oldest;
}

const signature = ({ id, epoch, contiguous }: Origin): number =>
  mix32(mix32(mix32(id ^ Math.floor(id / 2 ** 32)) ^ epoch ^ Math.floor(epoch / 2 ** 32)) + contiguous);

/** A token bucket for each publisher: whoever floods is heard at the rate that everybody may have. */
function allow(origin: Origin, now_ms: number): boolean {
  origin.tokens = Math.min(limits.origin_messages_burst, origin.tokens + ((now_ms - origin.tokens_ms) / 1000) * limits.origin_messages_per_second);
  origin.tokens_ms = now_ms;
  if (origin.tokens < 1) return false;
  origin.tokens--;
  return true;
}

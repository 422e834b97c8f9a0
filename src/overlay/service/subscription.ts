import type { Positions, TopicGap, TopicMessage } from '../../api/operations/overlay.ts';
import { accepts, type Filter } from '../pubsub/filter.ts';
import { limits as topics } from '../pubsub/limits.ts';
import { limits } from './limits.ts';

/** A message as it is offered to the subscriptions of this node. */
export interface Publication {
  readonly topic: string;
  readonly node: string;
  readonly user: string;
  readonly time_ms: number;
  readonly epoch: number;
  readonly seq: number;
  readonly payload: Buffer;
}

export interface SubscriptionOptions {
  readonly filter: Filter | null;
  /** Only what is about this uid's own things; null: all. */
  readonly own_uid: number | null;
  /** Older messages (by their publisher's clock) are not for it; -Infinity: all that come. */
  readonly since_ms: number;
  readonly after: Positions;
}

type Portion = { readonly messages: readonly TopicMessage[]; readonly gaps: readonly TopicGap[] };

/** What one subscriber waits for and has not read yet. */
export class Subscription {
  readonly #options: SubscriptionOptions;
  readonly #after: Map<string, { readonly epoch: number; readonly seq: number }>;
  #messages: TopicMessage[] = [];
  #gaps: TopicGap[] = [];
  #bytes = 0;
  #lost = 0;
  #wake: () => void = () => {};

  constructor(options: SubscriptionOptions) {
    this.#options = options;
    this.#after = new Map(Object.entries(options.after));
  }

  /**
   * A message of a publisher begins, wanted or not: whoever left a position for it hears whether something was missed in between.
   * False: it was read already.
   */
  reached({ node, epoch, seq }: Pick<Publication, 'node' | 'epoch' | 'seq'>): boolean {
    const after = this.#after.get(node);
    if (after === undefined) return true;
    if (epoch < after.epoch || (epoch === after.epoch && seq <= after.seq)) return false;
    this.#after.delete(node);
    const missed = epoch === after.epoch ? seq - after.seq - 1 : seq - 1;
    if (missed > 0) this.gap({ node, missed, why: 'they were too old when this subscriber came back' });
    return true;
  }

  offer(publication: Publication, body: () => unknown): void {
    const { filter, own_uid, since_ms } = this.#options;
    const { topic, node, user, payload, time_ms, epoch, seq } = publication;
    // A position is a better word than a clock.
    if (time_ms < since_ms && !Object.hasOwn(this.#options.after, node)) return;
    if (own_uid !== null && (body() as { uid?: unknown } | null)?.uid !== own_uid) return;
    if (filter !== null && !accepts(filter, { topic, node, user, size: payload.length, body: body() })) return;
    this.#messages.push({ topic, node, user: user === '' ? null : user, time_ms, epoch, seq, ...shown(payload) });
    this.#bytes += payload.length;
    while (this.#messages.length > topics.subscriber_backlog_max || this.#bytes > topics.subscriber_backlog_bytes_max) {
      this.#bytes -= sizeOf(this.#messages.shift()!);
      this.#lost++;
    }
    this.#wake();
  }

  gap(gap: TopicGap): void {
    if (this.#gaps.length < topics.subscriber_backlog_max) this.#gaps.push(gap);
    this.#wake();
  }

  /** Portions as they come, until `signal` aborts. */
  async *portions(signal: AbortSignal): AsyncGenerator<Portion, void, void> {
    const aborted = (): void => this.#wake();
    signal.addEventListener('abort', aborted);
    try {
      while (!signal.aborted) {
        if (this.#messages.length === 0 && this.#gaps.length === 0) {
          await new Promise<void>((resolve) => { this.#wake = resolve; });
          continue;
        }
        yield this.#take();
      }
    } finally {
      signal.removeEventListener('abort', aborted);
    }
  }

  #take(): Portion {
    const messages: TopicMessage[] = [];
    let bytes = 0;
    while (this.#messages.length > 0 && messages.length < limits.portion_messages_max && bytes < limits.portion_bytes_max) {
      const next = this.#messages.shift()!;
      bytes += sizeOf(next);
      const following = this.#messages[0];
      const more = following !== undefined && following.node === next.node && following.epoch === next.epoch && following.seq === next.seq;
      messages.push(more ? { ...next, more: true } : next);
    }
    this.#bytes -= bytes;
    const gaps = this.#gaps.splice(0, limits.portion_messages_max);
    if (this.#lost > 0) gaps.push({ node: '', missed: this.#lost, why: 'the subscriber did not read fast enough' });
    this.#lost = 0;
    return { messages, gaps };
  }
}

const sizeOf = ({ text, base64 }: TopicMessage): number => (text === undefined ? Buffer.byteLength(base64 ?? '', 'base64') : Buffer.byteLength(text));

function shown(payload: Buffer): { readonly text: string } | { readonly base64: string } {
  const text = payload.toString('utf8');
  return Buffer.from(text, 'utf8').equals(payload) ? { text } : { base64: payload.toString('base64') };
}

import type { TopicGap } from '../../api/operations/overlay.ts';
import { XosError } from '../../core/errors.ts';
import type { Clock } from '../../core/ports.ts';
import type { Members } from '../../daemon/context.ts';
import type { Metrics } from '../core/index.ts';
import { Access, type Principal, type TopicRule } from '../pubsub/access.ts';
import type { Broadcast, Subscriber } from '../pubsub/broadcast.ts';
import type { Kept, Origin } from '../pubsub/history.ts';
import { limits as topics } from '../pubsub/limits.ts';
import { TopicTree, parsePattern, parseTopic } from '../pubsub/topic.ts';
import { limits } from './limits.ts';
import { openBundle, sealBundle, type Bundle, type Item } from './seal.ts';
import { Subscription, type Publication, type SubscriptionOptions } from './subscription.ts';

export interface TopicsOptions {
  readonly vo: string;
  readonly node: string;
  readonly epoch: number;
  readonly rules: readonly TopicRule[];
  readonly members: Pick<Members, 'get'>;
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly sign: (bytes: Uint8Array) => Uint8Array;
  readonly after: (delay_ms: number, what: () => void) => void;
}

export interface Published {
  readonly epoch: number;
  readonly seq: number;
  readonly confirmed: boolean;
}

interface Waiting extends Item {
  readonly resolve: (published: Published) => void;
  readonly reject: (reason: XosError) => void;
}

/** Between the broadcast of sealed bundles and those who publish and subscribe on this node. */
export class Topics implements Subscriber {
  readonly access: Access;
  readonly #options: TopicsOptions;
  readonly #tree = new TopicTree<Subscription>();
  readonly #subscriptions = new Map<Subscription, number>();
  readonly #listeners = new TopicTree<(publication: Publication) => void>();
  readonly #nodes = new Map<number, string>();
  #broadcast: Broadcast | null = null;
  #waiting: Waiting[] = [];
  #bytes = 0;
  #flushed_ms = Number.NEGATIVE_INFINITY;
  #timer = false;
  #patience: number = limits.start_polls_max;

  constructor(options: TopicsOptions) {
    this.#options = options;
    this.access = new Access(options.vo, options.rules);
  }

  /** Broadcast needs its subscriber, and this the broadcast: called once, before anything starts. */
  use(broadcast: Broadcast): void {
    this.#broadcast = broadcast;
  }

  get subscriptions(): number {
    return this.#subscriptions.size;
  }

  /**
   * Publishes; resolves when a first neighbour has it, or after a second, or at once when there is none.
   * @throws XosError XOS_BAD_TOPIC, XOS_DENIED, XOS_TOO_LARGE, XOS_BUSY, XOS_UNAVAILABLE
   */
  async publish(principal: Principal, topic: string, payload: Buffer): Promise<Published> {
    const decision = this.access.publish(principal, parseTopic(topic));
    if (!decision.allowed) throw new XosError('XOS_DENIED', `cannot publish on '${topic}': ${decision.why}`, { topic });
    if (payload.length > topics.payload_bytes_max) throw new XosError('XOS_TOO_LARGE', `cannot publish on '${topic}': the message has ${payload.length} bytes, ${topics.payload_bytes_max} are allowed; publish where it is to be had`, { topic, bytes: payload.length });
    const user = principal.kind === 'user' ? principal.user : '';
    return await new Promise<Published>((resolve, reject) => {
      if (this.#waiting.length >= topics.bundle_items_max * 4) return reject(new XosError('XOS_BUSY', `cannot publish on '${topic}': this node publishes too fast; try again`, { topic }));
      this.#waiting.push({ topic, user, payload, resolve, reject });
      this.#bytes += payload.length;
      this.#soon();
    });
  }

  /**
   * @param uid whose subscription it is: one user must not take all
   * @throws XosError XOS_BUSY
   */
  subscribe(pattern: readonly string[], uid: number, options: SubscriptionOptions, replay: boolean): { readonly subscription: Subscription; readonly end: () => void } {
    const own = [...this.#subscriptions.values()].filter((each) => each === uid).length;
    if (this.#subscriptions.size >= topics.subscriptions_max || own >= topics.subscriptions_per_user_max) {
      throw new XosError('XOS_BUSY', `cannot subscribe to '${pattern.join('/')}': there are ${own} subscriptions of yours and ${this.#subscriptions.size} in all on this node; end one`);
    }
    const subscription = new Subscription(options);
    if (replay) this.#replay(subscription, pattern);
    const remove = this.#tree.add(pattern, subscription);
    this.#subscriptions.set(subscription, uid);
    return { subscription, end: () => { remove(); this.#subscriptions.delete(subscription); } };
  }

  /** For xosd itself: every message that matches, as it comes. Returns the way to stop. */
  listen(pattern: string, listener: (publication: Publication) => void): () => void {
    return this.#listeners.add(parsePattern(pattern), listener);
  }

  deliver(_self: number, kept: Kept): void {
    const { bundle } = openBundle(kept.bytes);
    if (this.#nodes.size >= topics.origins_max) this.#nodes.clear();
    this.#nodes.set(bundle.origin, bundle.node);
    const unread = new Set<Subscription>();
    for (const subscription of this.#subscriptions.keys()) if (subscription.reached(bundle)) unread.add(subscription);
    for (const item of bundle.items) {
      const levels = this.#levels(bundle, item);
      if (levels === null) continue;
      this.#options.metrics.add('pubsub.delivered');
      for (const listener of this.#listeners.match(levels)) listener({ topic: item.topic, node: bundle.node, user: item.user, time_ms: bundle.time_ms, epoch: bundle.epoch, seq: bundle.seq, payload: item.payload });
      this.#hand(bundle, item, [...this.#tree.match(levels)].filter((subscription) => unread.has(subscription)));
    }
  }

  gap(_self: number, origin: Origin, from: number, to: number): void {
    const gap: TopicGap = { node: this.#nodes.get(origin.id) ?? '', missed: to - from + 1, why: 'no neighbour had them any more' };
    for (const subscription of this.#subscriptions.keys()) subscription.gap(gap);
  }

  #replay(subscription: Subscription, pattern: readonly string[]): void {
    const history = this.#broadcast?.history(0);
    if (history == null) return;
    const tree = new TopicTree<Subscription>();
    tree.add(pattern, subscription);
    for (const origin of history.origins()) {
      for (const kept of history.range(origin, 1, origin.contiguous)) {
        const { bundle } = openBundle(kept.bytes);
        if (!subscription.reached(bundle)) continue;
        for (const item of bundle.items) {
          const levels = this.#levels(bundle, item);
          if (levels !== null) this.#hand(bundle, item, tree.match(levels));
        }
      }
    }
  }

  #hand({ node, time_ms, epoch, seq }: Bundle, { topic, user, payload }: Item, subscriptions: Iterable<Subscription>): void {
    const publication: Publication = { topic, node, user, time_ms, epoch, seq, payload };
    let body: { readonly value: unknown } | null = null;
    const parsed = (): unknown => (body ??= { value: parseBody(payload) }).value;
    for (const subscription of subscriptions) subscription.offer(publication, parsed);
  }

  /** The levels of an item's topic, if its publisher may say that; its node is believed about the user, and nothing else. */
  #levels({ node }: Bundle, { topic, user }: Item): readonly string[] | null {
    const { members, metrics } = this.#options;
    try {
      const levels = parseTopic(topic);
      const member = user === '' ? null : members.get(user);
      const principal: Principal | null = user === '' ? { kind: 'node', node } : member?.state === 'active' ? { kind: 'user', user, uid: member.uid, roles: member.roles } : null;
      if (principal !== null && this.access.publish(principal, levels).allowed) return levels;
      metrics.add('rejected.denied_message');
    } catch {
      metrics.add('rejected.bad_topic');
    }
    return null;
  }

  /** The first message of a while goes at once; what follows within some milliseconds goes and is signed together. */
  #soon(): void {
    if (this.#timer) return;
    const wait_ms = this.#flushed_ms + topics.bundle_ms - this.#options.clock.monotonic_ms();
    if (wait_ms <= 0 || this.#waiting.length >= topics.bundle_items_max || this.#bytes >= topics.bundle_bytes_max / 2) return this.#flush();
    this.#timer = true;
    this.#options.after(wait_ms, () => {
      this.#timer = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (this.#broadcast!.history(0) === null && this.#patience > 0) return this.#notYet();
    while (this.#waiting.length > 0) {
      const bundle: Waiting[] = [];
      let bytes = 0;
      while (this.#waiting.length > 0 && bundle.length < topics.bundle_items_max) {
        const next = this.#waiting[0]!;
        const size = next.payload.length + 2 * next.topic.length + 128;
        if (bundle.length > 0 && bytes + size > topics.bundle_bytes_max) break;
        bytes += size;
        bundle.push(this.#waiting.shift()!);
      }
      this.#send(bundle);
    }
    this.#bytes = 0;
    this.#flushed_ms = this.#options.clock.monotonic_ms();
  }

  /** xosd has just started: the first messages wait until the overlay runs, some seconds at most. */
  #notYet(): void {
    this.#patience--;
    this.#timer = true;
    this.#options.after(limits.start_poll_ms, () => {
      this.#timer = false;
      this.#flush();
    });
  }

  #send(items: readonly Waiting[]): void {
    const { vo, node, epoch, clock, sign, after } = this.#options;
    const broadcast = this.#broadcast!;
    const seq = broadcast.next(0);
    const done = (confirmed: boolean) => (): void => { for (const { resolve } of items) resolve({ epoch, seq, confirmed }); };
    const sealed = sealBundle({ vo, node, epoch, seq, time_ms: clock.now_ms(), items }, sign);
    if (broadcast.history(0) === null) {
      for (const { reject, topic } of items) reject(new XosError('XOS_UNAVAILABLE', `cannot publish on '${topic}': the overlay of this node has not started yet; try again`, { topic }));
    } else if (!broadcast.publish(0, sealed, done(true))) {
      for (const { reject, topic } of items) reject(new XosError('XOS_BUSY', `cannot publish on '${topic}': this node publishes too fast; try again`, { topic }));
    } else if (broadcast.linked(0)) after(limits.confirm_ms, done(false));
    else done(false)();
  }
}

function parseBody(payload: Buffer): unknown {
  try {
    return JSON.parse(payload.toString('utf8')) as unknown;
  } catch {
    return null;
  }
}

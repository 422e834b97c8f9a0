import type { Clock } from '../../core/ports.ts';
import { limits } from './limits.ts';

/** The second level of a topic: what a subscription is about. `*`: all. */
export const channelOf = (levels: readonly string[]): string => (levels[1] === undefined || levels[1] === '+' || levels[1] === '#' ? '*' : levels[1]);

/**
 * Which channels anybody in the VO subscribes to, so that events nobody waits for are not sent to everybody: each node tells the channels of
 * its own subscribers when they change, and again while there are any.
 */
export class Interests {
  readonly #clock: Clock;
  readonly #own = new Map<string, number>();
  readonly #others = new Map<string, { readonly channels: readonly string[]; readonly until_ms: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** True when the channel is new, so that the others have to hear it. */
  add(channel: string): boolean {
    const count = this.#own.get(channel) ?? 0;
    this.#own.set(channel, count + 1);
    return count === 0;
  }

  remove(channel: string): boolean {
    const count = (this.#own.get(channel) ?? 1) - 1;
    if (count > 0) this.#own.set(channel, count);
    else this.#own.delete(channel);
    return count === 0;
  }

  own(): readonly string[] {
    return [...this.#own.keys()].sort();
  }

  /** What another node told; anything that is no list of channels is none. */
  heard(node: string, payload: Buffer): void {
    let channels: unknown;
    try {
      channels = JSON.parse(payload.toString('utf8'));
    } catch {
      channels = [];
    }
    const good = Array.isArray(channels) ? channels.filter((each): each is string => typeof each === 'string' && each.length <= 64).slice(0, 64) : [];
    if (good.length === 0) this.#others.delete(node);
    else this.#others.set(node, { channels: good, until_ms: this.#clock.monotonic_ms() + limits.interest_life_ms });
  }

  wanted(channel: string): boolean {
    if (this.#own.has(channel) || this.#own.has('*')) return true;
    const now_ms = this.#clock.monotonic_ms();
    for (const [node, { channels, until_ms }] of this.#others) {
      if (until_ms < now_ms) this.#others.delete(node);
      else if (channels.includes(channel) || channels.includes('*')) return true;
    }
    return false;
  }
}

import type { Peer } from '../core/peer.ts';
import { limits } from './limits.ts';
import type { Key, Value } from './messages.ts';

interface Held extends Key {
  readonly version: number;
  readonly expires_ms: number;
  readonly bytes: Uint8Array;
  /** Who brought it: nobody may fill the whole store. */
  readonly from: Peer;
}

const name = ({ high, low }: Key): string => `${high}.${low}`;

/** The values that one node keeps for the others. */
export class Values {
  readonly #held = new Map<string, Held>();
  readonly #by_peer = new Map<Peer, number>();

  get size(): number {
    return this.#held.size;
  }

  /** False: an newer one is here, or there is no room. */
  keep(key: Key, value: Value, from: Peer, now_ms: number): boolean {
    const known = this.#held.get(name(key));
    if (known !== undefined && known.version > value.version) return false;
    const count = this.#by_peer.get(from) ?? 0;
    if (known === undefined && (this.#held.size >= limits.values_max || count >= limits.values_per_peer_max)) {
      this.expire(now_ms);
      if (this.#held.size >= limits.values_max || (this.#by_peer.get(from) ?? 0) >= limits.values_per_peer_max) return false;
    }
    if (value.bytes.length > limits.value_bytes_max) return false;
    this.#drop(name(key));
    // The life of the same version never grows: copies that travel around do not keep it alive.
    const expires_ms = known !== undefined && known.version === value.version ? Math.max(known.expires_ms, now_ms + value.life_ms) : now_ms + value.life_ms;
    this.#held.set(name(key), { high: key.high, low: key.low, version: value.version, expires_ms, bytes: value.bytes, from });
    this.#by_peer.set(from, (this.#by_peer.get(from) ?? 0) + 1);
    return true;
  }

  get(key: Key, now_ms: number): Value | null {
    const held = this.#held.get(name(key));
    return held === undefined || held.expires_ms <= now_ms ? null : { version: held.version, life_ms: Math.round(held.expires_ms - now_ms), bytes: held.bytes };
  }

  keys(): readonly Key[] {
    return [...this.#held.values()];
  }

  expire(now_ms: number): void {
    for (const [key, held] of this.#held) if (held.expires_ms <= now_ms) this.#drop(key);
  }

  #drop(key: string): void {
    const held = this.#held.get(key);
    if (held === undefined) return;
    this.#held.delete(key);
    const count = this.#by_peer.get(held.from)! - 1;
    if (count === 0) this.#by_peer.delete(held.from);
    else this.#by_peer.set(held.from, count);
  }
}

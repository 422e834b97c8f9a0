import type { Peer } from '../core/peer.ts';
import type { KeyTable } from '../core/tables.ts';
import { limits } from './limits.ts';
import type { Key, Value } from './messages.ts';

interface Candidate extends Key {
  readonly peer: Peer;
  state: 'new' | 'asked' | 'answered' | 'failed';
  tries: number;
  asked_ms: number;
}

/** The state of one look-up: the closest peers that were heard of, and who of them has answered. Pure. */
export class Search {
  readonly key: Key;
  readonly value: boolean;
  /** Closest first. */
  readonly #candidates: Candidate[] = [];
  readonly #seen = new Set<Peer>();
  readonly #table: KeyTable;
  best: Value | null = null;
  asked = 0;

  constructor(key: Key, value: boolean, table: KeyTable) {
    this.key = key;
    this.value = value;
    this.#table = table;
  }

  /** Takes peers that somebody named. `self` counts as answered. */
  add(peers: readonly Peer[], self: Peer): void {
    for (const peer of peers) {
      if (this.#seen.has(peer)) continue;
      const candidate: Candidate = { peer, high: this.#table.high(peer), low: this.#table.low(peer), state: peer === self ? 'answered' : 'new', tries: 0, asked_ms: 0 };
      let at = this.#candidates.length;
      while (at > 0 && this.#closer(candidate, this.#candidates[at - 1]!)) at--;
      if (at >= limits.candidates_max) continue;
      this.#seen.add(peer);
      this.#candidates.splice(at, 0, candidate);
      if (this.#candidates.length > limits.candidates_max) this.#candidates.pop();
    }
  }

  /** Whom to ask now: the closest ones that were not, at most `parallel` at a time, and only as long as they could change the answer. */
  next(now_ms: number): readonly Peer[] {
    const wanted: Peer[] = [];
    let [open, live] = [0, 0];
    for (const candidate of this.#candidates) {
      if (candidate.state === 'failed') continue;
      if (++live > limits.replicas) break;
      if (candidate.state === 'asked') open++;
    }
    live = 0;
    for (const candidate of this.#candidates) {
      if (candidate.state === 'failed') continue;
      if (++live > limits.replicas || open >= limits.parallel || this.asked >= limits.asked_max) break;
      if (candidate.state !== 'new') continue;
      Object.assign(candidate, { state: 'asked', tries: candidate.tries + 1, asked_ms: now_ms });
      wanted.push(candidate.peer);
      open++;
      this.asked++;
    }
    return wanted;
  }

  /** False when it was not asked. */
  answered(peer: Peer): boolean {
    const candidate = this.#candidates.find((each) => each.peer === peer);
    if (candidate === undefined || candidate.state !== 'asked') return false;
    candidate.state = 'answered';
    return true;
  }

  /** Peers that did not answer in time: asked again once, then out. Returns those that are out now. */
  late(now_ms: number): readonly Peer[] {
    const out: Peer[] = [];
    for (const candidate of this.#candidates) {
      if (candidate.state !== 'asked' || now_ms - candidate.asked_ms < limits.answer_ms) continue;
      candidate.state = candidate.tries < limits.tries_max ? 'new' : 'failed';
      if (candidate.state === 'failed') out.push(candidate.peer);
    }
    return out;
  }

  /** The closest that live, once they have all answered. */
  get done(): boolean {
    let live = 0;
    for (const { state } of this.#candidates) {
      if (state === 'failed') continue;
      if (state !== 'answered') return this.asked >= limits.asked_max;
      if (++live >= limits.replicas) return true;
    }
    return true;
  }

  /** Peers that answered, closest first. */
  closest(count: number): readonly Peer[] {
    return this.#candidates.filter(({ state }) => state === 'answered').slice(0, count).map(({ peer }) => peer);
  }

  peers(): readonly Peer[] {
    return this.#candidates.map(({ peer }) => peer);
  }

  #closer(a: Key, b: Key): boolean {
    const [x, y] = [(a.high ^ this.key.high) >>> 0, (b.high ^ this.key.high) >>> 0];
    return x < y || (x === y && (a.low ^ this.key.low) >>> 0 < (b.low ^ this.key.low) >>> 0);
  }
}

import type { Host, Protocol } from '../core/host.ts';
import type { Message } from '../core/message.ts';
import type { Peer } from '../core/peer.ts';
import { hashText, mix32 } from '../core/random.ts';
import type { KeyTable } from '../core/tables.ts';
import { kinds } from './kinds.ts';
import { limits } from './limits.ts';
import type { Find, Found, Key, Store, Value } from './messages.ts';
import { Search } from './search.ts';
import { Values } from './values.ts';

export interface Result {
  /** The live nodes that are closest to the key, closest first; the own one may be among them. */
  readonly closest: readonly Peer[];
  readonly value: Value | null;
  /** Nodes that were asked. */
  readonly asked: number;
}

interface Running {
  readonly search: Search;
  readonly started_ms: number;
  readonly done: (result: Result) => void;
  timer: number;
}

interface Row {
  readonly values: Values;
  readonly searches: Map<number, Running>;
  cycle: number;
  next: number;
}

/** The key of a name. */
export const keyOf = (name: string): Key => ({ high: hashText(`dht\n${name}`), low: mix32(hashText(`${name}\ndht`)) });

/**
 * Look-ups over the table of RSS: iterative, three peers at a time, and over only when the four closest that live have answered, so that no
 * single path and no single answer decides. Values are kept by those four, with a life, and copied on when others come closer.
 * (Kademlia: Maymounkov and Mazières, IPTPS 2002.)
 */
export class Dht implements Protocol {
  readonly name = 'dht';
  readonly kinds = [kinds.find, kinds.found, kinds.store];
  readonly #host: Host;
  readonly #table: KeyTable;
  readonly #rows: (Row | undefined)[] = [];

  constructor(host: Host, table: KeyTable) {
    this.#host = host;
    this.#table = table;
  }

  start(self: number): void {
    this.#rows[self] = { values: new Values(), searches: new Map(), cycle: this.#host.random.below(limits.replicate_cycles), next: 1 };
  }

  stop(self: number): void {
    const row = this.#rows[self];
    this.#rows[self] = undefined;
    for (const running of row?.searches.values() ?? []) {
      this.#host.cancel(running.timer);
      running.done({ closest: [], value: null, asked: running.search.asked });
    }
  }

  marks(self: number, mark: (peer: Peer) => void): void {
    for (const { search } of this.#rows[self]?.searches.values() ?? []) for (const peer of search.peers()) mark(peer);
  }

  /** The live nodes closest to a key. `done` is called once, later; with nothing found when there are too many look-ups or the row stops. */
  find(self: number, key: Key, done: (result: Result) => void): void {
    this.#search(self, key, false, done);
  }

  /** The newest value that its holders have. */
  get(self: number, key: Key, done: (result: Result) => void): void {
    this.#search(self, key, true, done);
  }

  /** Keeps a value at the nodes closest to its key. `done` gets how many of them were told. */
  put(self: number, key: Key, value: Value, done: (told: number) => void): void {
    this.#search(self, key, false, ({ closest }) => {
      const row = this.#rows[self];
      for (const peer of closest.slice(0, limits.replicas)) {
        if (peer === self) row?.values.keep(key, value, self, this.#host.now_ms(self));
        else this.#host.send(self, peer, { kind: kinds.store, ...key, value } as Store);
      }
      done(Math.min(closest.length, limits.replicas));
    });
  }

  onMessage(self: number, from: Peer, message: Message): void {
    const row = this.#rows[self];
    if (row === undefined) return;
    switch (message.kind) {
      case kinds.find: return this.#onFind(self, row, from, message as Find);
      case kinds.found: return this.#onFound(self, row, from, message as Found);
      case kinds.store: return this.#onStore(self, row, from, message as Store);
    }
  }

  /** Holders give a value on to those that are closer to it now. */
  onCycle(self: number): void {
    const row = this.#rows[self];
    if (row === undefined || ++row.cycle % limits.replicate_cycles !== 0) return;
    const now_ms = this.#host.now_ms(self);
    row.values.expire(now_ms);
    for (const key of row.values.keys()) {
      const value = row.values.get(key, now_ms);
      if (value === null) continue;
      for (const peer of this.#table.closest(self, key.high, key.low, limits.replicas)) {
        if (peer !== self) this.#host.send(self, peer, { kind: kinds.store, high: key.high, low: key.low, value } as Store);
      }
    }
  }

  values(self: number): number {
    return this.#rows[self]?.values.size ?? 0;
  }

  #search(self: number, key: Key, value: boolean, done: (result: Result) => void): void {
    const row = this.#rows[self];
    if (row === undefined || row.searches.size >= limits.searches_max) {
      this.#host.metrics.add('dht.refused');
      return done({ closest: [], value: null, asked: 0 });
    }
    const search = new Search(key, value, this.#table);
    const id = row.next;
    row.next = (row.next + 1) >>> 0 || 1;
    const now_ms = this.#host.now_ms(self);
    search.best = value ? row.values.get(key, now_ms) : null;
    search.add(this.#table.closest(self, key.high, key.low, limits.peers_per_answer), self);
    row.searches.set(id, { search, started_ms: now_ms, done, timer: -1 });
    this.#step(self, row, id);
  }

  #step(self: number, row: Row, id: number): void {
    const running = row.searches.get(id);
    if (running === undefined) return;
    const { search } = running;
    const now_ms = this.#host.now_ms(self);
    for (const peer of search.late(now_ms)) {
      this.#host.metrics.add('dht.silent');
      this.#table.suspect(self, peer);
    }
    for (const peer of search.next(now_ms)) {
      this.#host.metrics.add('dht.asked');
      this.#host.send(self, peer, { kind: kinds.find, id, ...search.key, value: search.value } as Find);
    }
    this.#host.cancel(running.timer);
    if (search.done || now_ms - running.started_ms > limits.search_ms) {
      row.searches.delete(id);
      return running.done({ closest: search.closest(limits.replicas), value: search.best, asked: search.asked });
    }
    running.timer = this.#host.after(self, limits.answer_ms, () => this.#step(self, row, id));
  }

  #onFind(self: number, row: Row, from: Peer, { id, high, low, value }: Find): void {
    const peers = this.#table.closest(self, high, low, limits.peers_per_answer + 1).filter((peer) => peer !== from).slice(0, limits.peers_per_answer);
    this.#host.send(self, from, { kind: kinds.found, id, peers, value: value ? row.values.get({ high, low }, this.#host.now_ms(self)) : null } as Found);
  }

  #onFound(self: number, row: Row, from: Peer, { id, peers, value }: Found): void {
    const running = row.searches.get(id);
    if (running === undefined || !running.search.answered(from)) return this.#host.metrics.add('rejected.not_asked');
    const { search } = running;
    if (value !== null && search.value && (search.best === null || value.version > search.best.version)) search.best = value;
    search.add(peers, self);
    this.#step(self, row, id);
  }

  #onStore(self: number, row: Row, from: Peer, { high, low, value }: Store): void {
    if (!row.values.keep({ high, low }, value, from, this.#host.now_ms(self))) this.#host.metrics.add('dht.not_kept');
  }
}

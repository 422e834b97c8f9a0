import { kinds, type Host, type Message, type Peer, type Protocol } from '../core/index.ts';
import { searchCodecs } from './codecs.ts';
import { limits } from './limits.ts';
import { look, type SearchResult } from './look.ts';
import type { AnswerMessage, Box, QueryMessage } from './messages.ts';
import type { Overlay } from './overlay.ts';
import { matcher, type Match, type Query } from './query.ts';
import { Region } from './region.ts';
import { key_bits } from './space.ts';
import { Walks } from './walks.ts';

interface Waiting {
  readonly box: Box;
  /** The next timer: first to ask somebody else meanwhile, then to give this one up. */
  timer: number;
}

interface Running {
  readonly id: number;
  readonly query: Query;
  readonly match: Match;
  readonly region: Region;
  readonly key: number;
  readonly wanted: number;
  readonly found: Set<Peer>;
  readonly asked: Peer[];
  readonly boxes: Box[];
  missing: boolean;
  /** Whom we wait for, and which box it is about. */
  readonly waiting: Map<Peer, Waiting>;
  readonly done: (result: SearchResult) => void;
}

/**
 * Queries over the links of RSS. A query for some nodes is led by who asks: boxes of the space that can hold matches wait in a list, the
 * most promising is looked into by asking one node in it, which answers from its own table (most of its links match when it does). A
 * query for all nodes is a walk over all boxes (walks.ts).
 */
export class Search implements Protocol {
  readonly name = 'search';
  readonly kinds = [kinds.rss_query, kinds.rss_answer, kinds.rss_walk, kinds.rss_accept, kinds.rss_part, kinds.rss_done];
  static readonly codecs = searchCodecs;
  readonly #host: Host;
  readonly #overlay: Overlay;
  readonly #walks: Walks;
  /** By row and id: few rows search at a time. */
  readonly #running = new Map<number, Map<number, Running>>();
  #next = 1;

  constructor(host: Host, overlay: Overlay) {
    this.#host = host;
    this.#overlay = overlay;
    this.#walks = new Walks(host, overlay);
  }

  start(self: number): void {
    this.stop(self);
  }

  stop(self: number): void {
    this.#running.delete(self);
    this.#walks.stop(self);
  }

  /**
   * Finds `wanted` nodes, or fewer when there are not so many; freshest knowledge first. `done` is called once, later. Returns the number
   * of the query, or -1 when limits.queries_max are under way.
   */
  some(self: number, query: Query, wanted: number, done: (result: SearchResult) => void): number {
    let mine = this.#running.get(self);
    if (mine === undefined) this.#running.set(self, (mine = new Map()));
    if (mine.size >= limits.queries_max) return -1;
    const id = this.#next++;
    const key = this.#bestKey(query);
    const table = this.#overlay.tables[key]!;
    const region = new Region(table.space, query);
    const running: Running = { id, query, match: matcher(query, this.#host.book), region, key, wanted, found: new Set(), asked: [], boxes: [], missing: false, waiting: new Map(), done };
    mine.set(id, running);
    const known = look(self, table, region, running.match, 0);
    this.#take(running, known.matches, known.rest);
    this.#host.after(self, 1, () => this.#step(self, running));
    return id;
  }

  /** Finds all matches that can be reached. */
  all(self: number, query: Query, done: (result: SearchResult) => void): number {
    return this.#walks.begin(self, query, this.#bestKey(query), done);
  }

  /** Gives a query up: `done` is not called. */
  cancel(self: number, id: number): void {
    const running = this.#running.get(self)?.get(id);
    if (running !== undefined) this.#end(self, running);
    this.#walks.cancel(self, id);
  }

  /** The key whose boxes tell most about the query. */
  #bestKey(query: Query): number {
    const shares = this.#overlay.tables.map((table) => new Region(table.space, query).share);
    return shares.indexOf(Math.min(...shares));
  }

  #take(running: Running, matches: readonly Peer[], rest: readonly Box[]): void {
    for (const peer of matches) if (running.match(peer)) running.found.add(peer);
    for (const box of rest) if (box.peers.length > 0) running.boxes.push(box);
  }

  #end(self: number, running: Running): void {
    for (const { timer } of running.waiting.values()) this.#host.cancel(timer);
    this.#running.get(self)?.delete(running.id);
  }

  #step(self: number, running: Running): void {
    if (this.#running.get(self)?.get(running.id) !== running) return;
    if (running.found.size >= running.wanted || running.asked.length >= limits.asked_max) return this.#finish(self, running);
    while (running.boxes.length > 0) {
      const { box, peer } = this.#best(self, running);
      running.boxes.splice(running.boxes.indexOf(box), 1);
      if (peer !== null) return this.#ask(self, running, box, peer);
    }
    if (running.waiting.size === 0) this.#finish(self, running);
  }

  #ask(self: number, running: Running, box: Box, peer: Peer): void {
    running.asked.push(peer);
    const waiting: Waiting = { box, timer: 0 };
    waiting.timer = this.#host.after(self, limits.answer_hedge_ms, () => {
      waiting.timer = this.#host.after(self, limits.answer_timeout_ms - limits.answer_hedge_ms, () => this.#silent(self, running, peer, box));
      running.found.delete(peer);
      const others = box.peers.filter((other) => other !== peer);
      if (others.length > 0) running.boxes.push({ peers: others, depth: box.depth });
      this.#step(self, running);
    });
    running.waiting.set(peer, waiting);
    const message: QueryMessage = { kind: kinds.rss_query, id: running.id, key: running.key, depth: box.depth, query: running.query };
    this.#host.send(self, peer, message);
  }

  /** The node whose links promise most, one that matches before all others. */
  #best(self: number, running: Running): { readonly box: Box; readonly peer: Peer | null } {
    const { space } = this.#overlay.tables[running.key]!;
    const levels = this.#overlay.tables[running.key]!.buckets(self);
    const asked = new Set(running.asked).add(self);
    let found: { box: Box; peer: Peer | null } = { box: running.boxes[0]!, peer: null };
    let most = -1;
    for (const box of running.boxes) {
      for (const peer of box.peers) {
        if (asked.has(peer)) continue;
        const shared = running.asked.reduce((most_shared, other) => Math.max(most_shared, space.common(peer, other)), space.common(peer, self));
        const promise = running.region.promise(space.high[peer]!, space.low[peer]!, levels, shared) + (running.match(peer) ? key_bits : 0);
        if (promise <= most) continue;
        most = promise;
        found = { box, peer };
      }
    }
    return found;
  }

  #silent(self: number, running: Running, peer: Peer, box: Box): void {
    running.waiting.delete(peer);
    this.#overlay.suspect(self, peer);
    if (box.peers.length === 1) running.missing = true;
    this.#step(self, running);
  }

  #finish(self: number, running: Running): void {
    this.#end(self, running);
    const peers = [...running.found].slice(0, running.wanted);
    running.done({ peers, asked: running.asked, complete: running.boxes.length === 0 && !running.missing && running.found.size <= running.wanted });
  }

  onMessage(self: number, from: Peer, message: Message): void {
    if (message.kind === kinds.rss_query) return this.#onQuery(self, from, message as QueryMessage);
    if (message.kind === kinds.rss_answer) return this.#onAnswer(self, from, message as AnswerMessage);
    this.#walks.onMessage(self, from, message);
  }

  #onQuery(self: number, from: Peer, message: QueryMessage): void {
    const table = this.#overlay.tables[message.key];
    if (table === undefined) return this.#host.metrics.add('rejected.unknown_key');
    const match = matcher(message.query, this.#host.book);
    if (!match(self)) this.#host.metrics.add('rss.asked_without_match');
    const { matches, rest } = look(self, table, new Region(table.space, message.query), match, message.depth);
    const answer: AnswerMessage = { kind: kinds.rss_answer, id: message.id, matches: matches.slice(0, limits.answer_peers_max), rest: rest.slice(0, limits.answer_rest_max) };
    this.#host.send(self, from, answer);
  }

  #onAnswer(self: number, from: Peer, message: AnswerMessage): void {
    const running = this.#running.get(self)?.get(message.id);
    const waiting = running?.waiting.get(from);
    if (running === undefined || waiting === undefined) return this.#host.metrics.add('rss.late_answer');
    this.#host.cancel(waiting.timer);
    running.waiting.delete(from);
    if (running.match(from)) running.found.add(from);
    this.#take(running, message.matches, message.rest);
    this.#step(self, running);
  }
}

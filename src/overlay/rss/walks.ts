import { kinds, type Host, type Message, type Peer } from '../core/index.ts';
import { limits } from './limits.ts';
import { look, type SearchResult } from './look.ts';
import type { AcceptMessage, Box, DoneMessage, PartMessage, WalkMessage } from './messages.ts';
import type { Overlay } from './overlay.ts';
import { matcher, type Query } from './query.ts';
import { Region } from './region.ts';

interface Child {
  readonly number: number;
  readonly box: Box;
  peer: Peer;
  tried: number;
  timer: number;
}

/** One box that this row answers for. */
interface Walk {
  readonly id: number;
  /** Who wants to be told, and by which number; null at the origin. */
  readonly parent: { readonly peer: Peer; readonly walk: number } | null;
  readonly origin: Peer;
  readonly key: number;
  readonly query: Query;
  readonly deadline_ms: number;
  readonly found: Set<Peer>;
  readonly children: Map<number, Child>;
  readonly asked: Peer[];
  missing: number;
  timer: number;
  readonly done: ((result: SearchResult) => void) | null;
}

interface Row {
  readonly walks: Set<Walk>;
  readonly children: Map<number, Walk>;
  /** What was told lately, by asker and its number. */
  readonly told: Map<string, DoneMessage>;
}

/**
 * Exhaustive queries: who has a box looks into it itself, and hands each part that can hold more than it knows to a node there. A part
 * is known when it is among the smallest and its bucket is not full: then its nodes are all there, and their descriptors answer for them.
 */
export class Walks {
  readonly #host: Host;
  readonly #overlay: Overlay;
  readonly #rows = new Map<number, Row>();
  #next = 1;

  constructor(host: Host, overlay: Overlay) {
    this.#host = host;
    this.#overlay = overlay;
  }

  stop(self: number): void {
    this.#rows.delete(self);
  }

  #row(self: number): Row {
    let row = this.#rows.get(self);
    if (row === undefined) this.#rows.set(self, (row = { walks: new Set(), children: new Map(), told: new Map() }));
    return row;
  }

  begin(self: number, query: Query, key: number, done: (result: SearchResult) => void): number {
    if (this.#row(self).walks.size >= limits.walks_max) return -1;
    const id = this.#next++;
    this.#run(self, { id, parent: null, origin: self, key, query, within_ms: limits.walk_deadline_ms, depth: 0, done });
    return id;
  }

  cancel(self: number, id: number): void {
    for (const walk of this.#rows.get(self)?.walks ?? []) if (walk.id === id && walk.parent === null) this.#forget(self, walk);
  }

  #run(self: number, order: { id: number; parent: Walk['parent']; origin: Peer; key: number; query: Query; within_ms: number; depth: number; done: Walk['done'] }): void {
    const row = this.#row(self);
    const table = this.#overlay.tables[order.key]!;
    const match = matcher(order.query, this.#host.book);
    if (!match(self)) this.#host.metrics.add('rss.asked_without_match');
    const deadline_ms = this.#host.now_ms(self) + order.within_ms;
    const walk: Walk = { ...order, deadline_ms, found: new Set(), children: new Map(), asked: [], missing: 0, timer: 0 };
    row.walks.add(walk);
    walk.timer = this.#host.after(self, order.within_ms, () => this.#late(self, walk));
    const known = look(self, table, new Region(table.space, order.query), match, order.depth);
    if (match(self)) walk.found.add(self);
    const small = table.buckets(self) - limits.whole_buckets;
    for (const box of known.rest) {
      if (box.peers.length >= limits.bucket || table.rank(self, box.depth - 1) < small) this.#delegate(self, walk, box);
      else for (const peer of box.peers) if (match(peer)) walk.found.add(peer);
    }
    this.#check(self, walk);
  }

  #delegate(self: number, walk: Walk, box: Box): void {
    const child: Child = { number: this.#next++, box, peer: 0, tried: 0, timer: 0 };
    walk.children.set(child.number, child);
    this.#row(self).children.set(child.number, walk);
    this.#ask(self, walk, child);
  }

  #ask(self: number, walk: Walk, child: Child): void {
    const peer = child.box.peers[child.tried++];
    if (peer === undefined || this.#left_ms(self, walk) <= 0) {
      walk.missing++;
      this.#end(self, walk, child);
      return this.#check(self, walk);
    }
    child.peer = peer;
    walk.asked.push(peer);
    this.#send(self, walk, child);
  }

  #left_ms(self: number, walk: Walk): number {
    return Math.floor(walk.deadline_ms - this.#host.now_ms(self) - limits.walk_margin_ms);
  }

  #send(self: number, walk: Walk, child: Child): void {
    const { id, origin, key, query } = walk;
    const { peer } = child;
    const within_ms = Math.max(0, this.#left_ms(self, walk));
    const message: WalkMessage = { kind: kinds.rss_walk, id, walk: child.number, origin, key, depth: child.box.depth, query, within_ms };
    this.#host.send(self, peer, message);
    child.timer = this.#host.after(self, limits.accept_timeout_ms, () => {
      this.#overlay.suspect(self, peer);
      walk.found.delete(peer);
      this.#ask(self, walk, child);
    });
  }

  #end(self: number, walk: Walk, child: Child): void {
    this.#host.cancel(child.timer);
    walk.children.delete(child.number);
    this.#row(self).children.delete(child.number);
  }

  onMessage(self: number, from: Peer, message: Message): void {
    switch (message.kind) {
      case kinds.rss_walk: return this.#onWalk(self, from, message as WalkMessage);
      case kinds.rss_accept: {
        const known = this.#child(self, from, (message as AcceptMessage).walk);
        if (known === null) return;
        this.#host.cancel(known.child.timer);
        known.child.timer = this.#host.after(self, limits.walk_ask_again_ms, () => this.#send(self, known.walk, known.child));
        return;
      }
      case kinds.rss_part: return this.#onPart(self, message as PartMessage);
      case kinds.rss_done: return this.#onDone(self, from, message as DoneMessage);
    }
  }

  #child(self: number, from: Peer, number: number): { readonly walk: Walk; readonly child: Child } | null {
    const walk = this.#rows.get(self)?.children.get(number);
    const child = walk?.children.get(number);
    return walk === undefined || child === undefined || child.peer !== from ? null : { walk, child };
  }

  #onWalk(self: number, from: Peer, message: WalkMessage): void {
    if (this.#overlay.tables[message.key] === undefined) return this.#host.metrics.add('rejected.unknown_key');
    // It knows too little yet to tell what there is; the asker turns to another one.
    if (this.#overlay.newcomer(self)) return this.#host.metrics.add('rss.walk_too_early');
    const { walks, told } = this.#row(self);
    const again = told.get(`${from}:${message.walk}`);
    if (again !== undefined) return this.#host.send(self, from, again);
    if (walks.size >= limits.walks_max) return this.#host.metrics.add('rejected.too_many_walks');
    const accept: AcceptMessage = { kind: kinds.rss_accept, walk: message.walk };
    this.#host.send(self, from, accept);
    for (const { parent } of walks) if (parent?.peer === from && parent.walk === message.walk) return;
    const { id, origin, key, query, depth } = message;
    const within_ms = Math.min(message.within_ms, limits.walk_deadline_ms);
    this.#run(self, { id, parent: { peer: from, walk: message.walk }, origin, key, query, within_ms, depth, done: null });
  }

  #onPart(self: number, message: PartMessage): void {
    for (const walk of this.#rows.get(self)?.walks ?? []) {
      if (walk.id === message.id && walk.parent === null) for (const peer of message.matches) walk.found.add(peer);
    }
  }

  #onDone(self: number, from: Peer, message: DoneMessage): void {
    const known = this.#child(self, from, message.walk);
    if (known === null) return;
    const { walk, child } = known;
    for (const peer of message.matches) walk.found.add(peer);
    walk.missing += message.missing;
    this.#end(self, walk, child);
    this.#check(self, walk);
  }

  #late(self: number, walk: Walk): void {
    walk.missing += walk.children.size;
    for (const child of [...walk.children.values()]) this.#end(self, walk, child);
    this.#check(self, walk);
  }

  #forget(self: number, walk: Walk): void {
    const row = this.#row(self);
    for (const child of [...walk.children.values()]) this.#end(self, walk, child);
    this.#host.cancel(walk.timer);
    row.walks.delete(walk);
  }

  /** When nothing is left to wait for: tells the parent, or whoever asked. */
  #check(self: number, walk: Walk): void {
    if (walk.children.size > 0 || !this.#row(self).walks.has(walk)) return;
    // What others sent straight to the origin may be slower than the last `done`.
    if (walk.parent === null) return void this.#host.after(self, limits.parts_grace_ms, () => this.#finish(self, walk));
    this.#forget(self, walk);
    const peers = [...walk.found];
    for (let at = limits.answer_peers_max; at < peers.length; at += limits.answer_peers_max) {
      const part: PartMessage = { kind: kinds.rss_part, id: walk.id, matches: peers.slice(at, at + limits.answer_peers_max) };
      this.#host.send(self, walk.origin, part);
    }
    const done: DoneMessage = { kind: kinds.rss_done, walk: walk.parent.walk, matches: peers.slice(0, limits.answer_peers_max), missing: walk.missing };
    this.#host.send(self, walk.parent.peer, done);
    const { told } = this.#row(self);
    const name = `${walk.parent.peer}:${walk.parent.walk}`;
    if (told.size >= limits.walks_max) return;
    told.set(name, done);
    this.#host.after(self, limits.walk_told_ms, () => void told.delete(name));
  }

  #finish(self: number, walk: Walk): void {
    if (!this.#row(self).walks.has(walk)) return;
    this.#forget(self, walk);
    const match = matcher(walk.query, this.#host.book);
    walk.done?.({ peers: [...walk.found].filter(match), asked: walk.asked, complete: walk.missing === 0 });
  }
}

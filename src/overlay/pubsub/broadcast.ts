import type { Host, Protocol } from '../core/host.ts';
import type { Message } from '../core/message.ts';
import { nobody, type Peer } from '../core/peer.ts';
import { Gains } from './gains.ts';
import { History, type Kept, type Origin } from './history.ts';
import { kinds } from './kinds.ts';
import { limits } from './limits.ts';
import type { Announce, Announced, Digest, Gossip, Graft, Have, MessageId, Range, Who, Whois } from './messages.ts';
import type { Mesh, MeshUser } from './mesh.ts';

/** Who a publisher is and whether a message is its own: the signatures of xosd, or (simulator) belief. */
export interface Trust {
  /** The id of a row's own messages. */
  own(self: number): { readonly origin: number; readonly epoch: number };
  /** `unknown`: the publisher's key is not known here; it is then asked of who sent the message. */
  check(self: number, id: MessageId, bytes: Uint8Array): 'good' | 'bad' | 'unknown';
  /** The peer whose messages have this id; `nobody` when it is not known. */
  find(self: number, origin: number): Peer;
  /** True when `peer` is that publisher; its descriptor was verified. */
  learn(self: number, origin: number, peer: Peer): boolean;
}

export interface Subscriber {
  /** In order for each publisher, each message once. */
  deliver(self: number, kept: Kept): void;
  /** Messages that no neighbour could give in time. */
  gap(self: number, origin: Origin, from: number, to: number): void;
}

interface Missing {
  readonly id: MessageId;
  readonly sources: { readonly peer: Peer; readonly hops: number }[];
  tries: number;
  timer: number;
}

interface LinkState {
  /** Messages go there as soon as they come; to the others only their numbers. */
  eager: boolean;
  readonly announce: Announced[];
  readonly gains: Gains;
  /** No digest was compared yet. */
  fresh: boolean;
  unequal: number;
  page: number;
  /** What was behind when this link was asked for it last; it is asked again as long as that gets less. */
  behind: number;
  asking: boolean;
}

interface Row {
  readonly history: History;
  readonly links: Map<Peer, LinkState>;
  readonly missing: Map<string, Missing>;
  /** Messages that wait for their publisher's descriptor. */
  readonly unknown: Map<number, { readonly from: Peer; readonly message: Gossip }[]>;
  readonly confirmed: Map<number, () => void>;
  unknowns: number;
  seq: number;
  timer: number;
  announcing: boolean;
  /** The tree is not changed for the sake of shorter ways before this. */
  settled_ms: number;
  /** How long an announced message is waited for: as long as the tree is slow here. */
  patience_ms: number;
}

const keyOf = ({ origin, epoch, seq }: MessageId): string => `${origin}.${epoch}.${seq}`;

/**
 * Broadcast trees over the links of the mesh (Plumtree: Leitão, Pereira, Rodrigues, SRDS 2007), with a history in which those who were
 * away find what they missed. A message goes along the tree at once, its number over all other links; who hears the number and not
 * the message asks for it and so repairs the tree. A link whose announcements have come fewer hops than the messages, on average, takes the place of
 * the one that those come by (gains.ts). Neighbours compare a digest of all that they have with each keep-alive.
 */
export class Broadcast implements Protocol, MeshUser {
  readonly name = 'broadcast';
  readonly kinds = [kinds.gossip, kinds.have, kinds.announce, kinds.graft, kinds.prune, kinds.digest, kinds.who, kinds.whois];
  readonly #host: Host;
  readonly #trust: Trust;
  readonly #subscriber: Subscriber;
  readonly #rows: (Row | undefined)[] = [];
  #mesh: Mesh | null = null;

  constructor(host: Host, trust: Trust, subscriber: Subscriber) {
    this.#host = host;
    this.#trust = trust;
    this.#subscriber = subscriber;
  }

  /** The mesh needs its user and this the mesh: called once, before any start. */
  use(mesh: Mesh): void {
    this.#mesh = mesh;
  }

  start(self: number): void {
    const row: Row = { history: new History(), links: new Map(), missing: new Map(), unknown: new Map(), confirmed: new Map(), unknowns: 0, seq: 0, timer: -1, announcing: false, settled_ms: 0, patience_ms: limits.graft_after_ms };
    this.#rows[self] = row;
    this.#later(self, row);
  }

  stop(self: number): void {
    const row = this.#rows[self];
    if (row === undefined) return;
    this.#host.cancel(row.timer);
    for (const { timer } of row.missing.values()) this.#host.cancel(timer);
    for (const confirm of row.confirmed.values()) confirm();
    this.#rows[self] = undefined;
  }

  marks(self: number, mark: (peer: Peer) => void): void {
    const row = this.#rows[self];
    if (row === undefined) return;
    for (const origin of row.history.origins()) {
      const peer = origin.messages.size > 0 ? this.#trust.find(self, origin.id) : nobody;
      if (peer !== nobody) mark(peer);
    }
    for (const waiting of row.unknown.values()) for (const { from } of waiting) mark(from);
  }

  history(self: number): History | null {
    return this.#rows[self]?.history ?? null;
  }

  /** Number of the next message of this row. */
  next(self: number): number {
    return (this.#rows[self]?.seq ?? 0) + 1;
  }

  /**
   * Sends a sealed message, whose number must be `next(self)`, to everybody. False when this row publishes too fast or is stopped.
   * @param confirmed called when a first neighbour has it, at most once
   */
  publish(self: number, bytes: Uint8Array, confirmed?: () => void): boolean {
    const row = this.#rows[self];
    if (row === undefined) return false;
    const { origin, epoch } = this.#trust.own(self);
    const now_ms = this.#host.now_ms(self);
    if (row.seq === 0) row.history.open(origin, epoch, 0, now_ms);
    const id: MessageId = { origin, epoch, seq: row.seq + 1 };
    if (row.history.add(origin, epoch, id.seq, bytes, now_ms) !== 'new') return false;
    row.seq++;
    if (confirmed !== undefined && row.links.size > 0) row.confirmed.set(id.seq, confirmed);
    this.#push(self, row, { kind: kinds.gossip, ...id, hops: 0, way: 'first', bytes }, -1);
    this.#handOn(self, row, row.history.get(origin)!);
    return true;
  }

  /** Whether anybody would hear it now. */
  linked(self: number): boolean {
    return (this.#rows[self]?.links.size ?? 0) > 0;
  }

  /** A link that is on trial is not in the tree: it would take the place of one that stays, and be gone. */
  onLink(self: number, peer: Peer, trial: boolean): void {
    this.#rows[self]?.links.set(peer, { eager: !trial, announce: [], gains: new Gains(), fresh: true, unequal: 0, page: 0, behind: Number.POSITIVE_INFINITY, asking: false });
  }

  onUnlink(self: number, peer: Peer): void {
    const row = this.#rows[self];
    if (row?.links.delete(peer)) this.#forgetGains(row);
  }

  digest(self: number): number {
    return this.#rows[self]?.history.digest ?? 0;
  }

  onDigest(self: number, peer: Peer, digest: number): void {
    const row = this.#rows[self];
    const link = row?.links.get(peer);
    if (row === undefined || link === undefined) return;
    const fresh = link.fresh;
    link.fresh = false;
    if (digest === row.history.digest) {
      link.unequal = link.page = 0;
      return;
    }
    // While messages are under way two digests differ for a moment; twice in a row is worth a look.
    if (++link.unequal < 2 && !fresh) return;
    this.#host.metrics.add('pubsub.digest');
    this.#host.send(self, peer, { kind: kinds.digest, answer: true, entries: this.#page(row, link, fresh) } as Digest);
  }

  onMessage(self: number, from: Peer, message: Message): void {
    const row = this.#rows[self];
    if (row === undefined || from === self) return;
    this.#mesh?.heard(self, from);
    switch (message.kind) {
      case kinds.gossip: return this.#onGossip(self, row, from, message as Gossip);
      case kinds.have: return this.#onHave(self, row, message as Have);
      case kinds.announce: return this.#onAnnounce(self, row, from, message as Announce);
      case kinds.graft: return this.#onGraft(self, row, from, message as Graft);
      case kinds.prune: return this.#setEager(row, from, false);
      case kinds.digest: return this.#onDigestPage(self, row, from, message as Digest);
      case kinds.who: return this.#onWho(self, from, message as Who);
      case kinds.whois: return this.#onWhois(self, row, message as Whois);
    }
  }

  #setEager(row: Row, peer: Peer, eager: boolean): void {
    const link = row.links.get(peer);
    if (link !== undefined) link.eager = eager;
  }

  #onGossip(self: number, row: Row, from: Peer, message: Gossip): void {
    const { metrics } = this.#host;
    metrics.add('pubsub.received');
    metrics.add('pubsub.received_bytes', message.bytes.length);
    if (row.history.has(message.origin, message.epoch, message.seq)) return this.#onKnown(self, row, from, message);
    const verdict = this.#trust.check(self, message, message.bytes);
    if (verdict === 'bad') return metrics.add('rejected.forged_message');
    if (verdict === 'unknown') return this.#askWho(self, row, from, message);
    const now_ms = this.#host.now_ms(self);
    const hops = Math.min(255, message.hops + 1);
    const arrival = row.history.add(message.origin, message.epoch, message.seq, message.bytes, now_ms, hops, message.way === 'asked' ? nobody : from);
    if (arrival !== 'new') return metrics.add(`rejected.${arrival}_message`);
    const announced = this.#settle(row, message);
    if (message.way === 'first') this.#host.send(self, from, { kind: kinds.have, origin: message.origin, epoch: message.epoch, seq: message.seq } as Have);
    if (message.way === 'asked') for (const [peer, link] of row.links) { if (peer !== from) this.#announce(self, row, link, { ...message, hops }); }
    else {
      row.patience_ms = Math.max(row.patience_ms * 0.99, limits.graft_after_ms);
      this.#setEager(row, from, true);
      this.#push(self, row, { ...message, way: 'push', hops }, from);
      for (const each of announced) this.#compare(self, row, each.peer, from, message.hops - each.hops);
    }
    const origin = row.history.get(message.origin)!;
    // So far behind that it would never be caught up in time.
    if (message.seq > origin.contiguous + limits.gap_messages_max) this.#giveUp(self, row, origin, message.seq - limits.gap_messages_max);
    this.#handOn(self, row, origin);
    if (origin.waiting_ms >= 0) this.#askForGap(self, row, origin, from);
  }

  #onKnown(self: number, row: Row, from: Peer, message: Gossip): void {
    this.#host.metrics.add('pubsub.known');
    const origin = row.history.get(message.origin);
    if (origin !== null && message.epoch < origin.epoch) return this.#host.metrics.add('rejected.stale_message');
    if (message.way === 'first') this.#host.send(self, from, { kind: kinds.have, origin: message.origin, epoch: message.epoch, seq: message.seq } as Have);
    if (message.way === 'asked') return;
    const kept = origin?.messages.get(message.seq);
    // It was asked for, and would have come.
    if (kept !== undefined && kept.from === nobody && kept.hops > 0) row.patience_ms = Math.min(row.patience_ms * 1.5, limits.graft_after_ms_max);
    this.#setEager(row, from, false);
    this.#host.send(self, from, { kind: kinds.prune });
  }

  /** To the tree at once, to the rest by number. */
  #push(self: number, row: Row, message: Gossip, except: Peer): void {
    for (const [peer, link] of row.links) {
      if (peer === except) continue;
      if (!link.eager) this.#announce(self, row, link, message);
      else {
        this.#host.metrics.add('pubsub.sent');
        this.#host.send(self, peer, message);
        this.#mesh?.sent(self, peer);
      }
    }
  }

  #announce(self: number, row: Row, link: LinkState, { origin, epoch, seq, hops }: Announced): void {
    if (link.announce.length < limits.announce_ids_max) link.announce.push({ origin, epoch, seq, hops });
    if (row.announcing) return;
    row.announcing = true;
    this.#host.after(self, limits.announce_wait_ms, () => {
      row.announcing = false;
      for (const [peer, { announce }] of row.links) {
        if (announce.length > 0) this.#host.send(self, peer, { kind: kinds.announce, ids: announce.splice(0) } as Announce);
      }
    });
  }

  #handOn(self: number, row: Row, origin: Origin): void {
    for (;;) {
      const kept = row.history.advance(origin, this.#host.now_ms(self));
      if (kept === null) return;
      this.#subscriber.deliver(self, kept);
    }
  }

  /** It came: nobody is asked for it any more. Returns who had announced it. */
  #settle(row: Row, id: MessageId): Missing['sources'] {
    const missing = row.missing.get(keyOf(id));
    if (missing === undefined) return [];
    this.#host.cancel(missing.timer);
    row.missing.delete(keyOf(id));
    return missing.sources;
  }

  /** `announcer` has a message with `saved` hops fewer than the way by which it came from `parent`. */
  #compare(self: number, row: Row, announcer: Peer, parent: Peer, saved: number): void {
    const [link, used] = [row.links.get(announcer), row.links.get(parent)];
    if (link === undefined || used === undefined || link.eager || !used.eager || !link.gains.note(parent, saved)) return;
    const now_ms = this.#host.now_ms(self);
    if (now_ms < row.settled_ms) return;
    row.settled_ms = now_ms + limits.shorter_wait_ms / 2 + this.#host.random.below(limits.shorter_wait_ms);
    this.#host.metrics.add('pubsub.shorter');
    this.#forgetGains(row);
    link.eager = true;
    used.eager = false;
    this.#host.send(self, announcer, { kind: kinds.graft, join: true, ranges: [] } as Graft);
    this.#host.send(self, parent, { kind: kinds.prune });
    this.#mesh?.sent(self, announcer);
  }

  #forgetGains(row: Row): void {
    for (const { gains } of row.links.values()) gains.clear();
  }

  #onAnnounce(self: number, row: Row, from: Peer, { ids }: Announce): void {
    for (const id of ids) {
      if (row.history.has(id.origin, id.epoch, id.seq)) {
        const origin = row.history.get(id.origin);
        const kept = origin?.epoch === id.epoch ? origin.messages.get(id.seq) : undefined;
        if (kept !== undefined && kept.from !== nobody) this.#compare(self, row, from, kept.from, kept.hops - 1 - id.hops);
        continue;
      }
      const known = row.missing.get(keyOf(id));
      if (known !== undefined) {
        if (known.sources.length < limits.links_max && !known.sources.some(({ peer }) => peer === from)) known.sources.push({ peer: from, hops: id.hops });
      } else if (row.missing.size >= limits.missing_max) this.#host.metrics.add('rejected.too_many_missing');
      else this.#expect(self, row, { id, sources: [{ peer: from, hops: id.hops }], tries: 0, timer: -1 }, row.patience_ms);
    }
  }

  #expect(self: number, row: Row, missing: Missing, delay_ms: number): void {
    const key = keyOf(missing.id);
    row.missing.set(key, missing);
    missing.timer = this.#host.after(self, delay_ms, () => {
      const source = missing.sources.shift();
      if (this.#rows[self] !== row || source === undefined || missing.tries++ >= limits.graft_tries_max) return void row.missing.delete(key);
      if (row.links.has(source.peer)) {
        missing.sources.push(source);
        const { origin, epoch, seq } = missing.id;
        this.#setEager(row, source.peer, true);
        this.#host.metrics.add('pubsub.graft');
        this.#host.send(self, source.peer, { kind: kinds.graft, join: true, ranges: [{ origin, epoch, from: seq, to: seq }] } as Graft);
        this.#mesh?.sent(self, source.peer);
      }
      this.#expect(self, row, missing, limits.graft_again_ms);
    });
  }

  /** A message came before its predecessors: whoever sent it has those too. */
  #askForGap(self: number, row: Row, origin: Origin, from: Peer): void {
    for (const range of row.history.missing(origin, 8)) {
      for (let seq = range.from; seq <= Math.min(range.to, range.from + 32); seq++) {
        const id = { origin: origin.id, epoch: origin.epoch, seq };
        if (!row.missing.has(keyOf(id)) && row.missing.size < limits.missing_max) this.#expect(self, row, { id, sources: [{ peer: from, hops: 255 }], tries: 0, timer: -1 }, row.patience_ms);
      }
    }
  }

  #onGraft(self: number, row: Row, from: Peer, { join, ranges }: Graft): void {
    if (join) this.#setEager(row, from, true);
    let [count, bytes] = [0, 0];
    for (const { origin: id, epoch, from: first, to } of ranges) {
      const origin = row.history.get(id);
      if (origin === null || origin.epoch !== epoch) continue;
      for (const kept of row.history.range(origin, first, to)) {
        if (count >= limits.recover_messages_max || bytes >= limits.recover_bytes_max) return;
        count++;
        bytes += kept.bytes.length;
        this.#host.metrics.add('pubsub.recovered');
        this.#host.send(self, from, { kind: kinds.gossip, origin: id, epoch, seq: kept.seq, hops: kept.hops, way: 'asked', bytes: kept.bytes } as Gossip);
      }
    }
  }

  #page(row: Row, link: LinkState, whole: boolean): Digest['entries'] {
    const count = whole ? limits.digest_entries_max : limits.digest_entries_max / 16;
    const entries = row.history.entries(link.page * count, count);
    link.page = entries.length < count ? 0 : link.page + 1;
    return entries;
  }

  #onDigestPage(self: number, row: Row, from: Peer, { answer, entries }: Digest): void {
    const link = row.links.get(from);
    if (link === undefined) return;
    const now_ms = this.#host.now_ms(self);
    const own = this.#trust.own(self);
    for (const { origin: id, epoch, contiguous, oldest } of entries) {
      if (id === own.origin) continue;
      const known = row.history.get(id);
      if (known !== null && epoch < known.epoch) continue;
      // Of a publisher that is new to us the first message that can still be had; of one in a new epoch all of it.
      const origin = row.history.open(id, epoch, known === null ? oldest - 1 : 0, now_ms);
      if (origin === null || contiguous <= origin.highest) continue;
      origin.highest = contiguous;
      this.#handOn(self, row, origin);
      // What the neighbour does not have any more will hardly come from another one; the wait for it is the usual one.
    }
    if (answer) this.#host.send(self, from, { kind: kinds.digest, answer: false, entries: this.#page(row, link, entries.length > limits.digest_entries_max / 16 || row.history.size === 0 || link.unequal < 2) } as Digest);
    if (!link.asking) this.#catchUp(self, row, from, link);
  }

  /** Asks one neighbour for all that is missing, a portion at a time, as long as it helps. */
  #catchUp(self: number, row: Row, peer: Peer, link: LinkState): void {
    link.asking = false;
    if (this.#rows[self] !== row || row.links.get(peer) !== link) return;
    const ranges: Range[] = [];
    let behind = 0;
    for (const origin of row.history.origins()) {
      if (origin.highest <= origin.contiguous || ranges.length >= limits.ranges_per_message_max) continue;
      for (const { from, to } of row.history.missing(origin, 8)) {
        behind += to - from + 1;
        if (ranges.length < limits.ranges_per_message_max) ranges.push({ origin: origin.id, epoch: origin.epoch, from, to });
      }
    }
    if (behind === 0 || behind >= link.behind) return void (link.behind = Number.POSITIVE_INFINITY);
    link.behind = behind;
    link.asking = true;
    this.#host.send(self, peer, { kind: kinds.graft, join: false, ranges } as Graft);
    this.#host.after(self, limits.graft_again_ms, () => this.#catchUp(self, row, peer, link));
  }

  #onHave(_self: number, row: Row, { seq }: Have): void {
    const confirm = row.confirmed.get(seq);
    row.confirmed.delete(seq);
    confirm?.();
  }

  #askWho(self: number, row: Row, from: Peer, message: Gossip): void {
    if (row.unknowns >= limits.unknown_max) return this.#host.metrics.add('rejected.unknown_publisher');
    const waiting = row.unknown.get(message.origin) ?? [];
    row.unknown.set(message.origin, waiting);
    waiting.push({ from, message });
    row.unknowns++;
    if (waiting.length > 1) return;
    this.#host.send(self, from, { kind: kinds.who, origin: message.origin } as Who);
    // Without an answer the messages are let go; the digest brings them again.
    this.#host.after(self, limits.link_answer_ms, () => {
      if (row.unknown.get(message.origin) === waiting) this.#forgetUnknown(row, message.origin);
    });
  }

  #forgetUnknown(row: Row, origin: number): readonly { readonly from: Peer; readonly message: Gossip }[] {
    const waiting = row.unknown.get(origin) ?? [];
    row.unknown.delete(origin);
    row.unknowns -= waiting.length;
    return waiting;
  }

  #onWho(self: number, from: Peer, { origin }: Who): void {
    const peer = this.#trust.own(self).origin === origin ? self : this.#trust.find(self, origin);
    if (peer !== nobody) this.#host.send(self, from, { kind: kinds.whois, origin, peer } as Whois);
  }

  #onWhois(self: number, row: Row, { origin, peer }: Whois): void {
    if (peer < 0 || !this.#trust.learn(self, origin, peer)) return this.#host.metrics.add('rejected.whois');
    for (const { from, message } of this.#forgetUnknown(row, origin)) {
      // One answer is enough: who is not believed now is not asked for again by this message.
      if (this.#trust.check(self, message, message.bytes) === 'good') this.#onGossip(self, row, from, message);
      else this.#host.metrics.add('rejected.forged_message');
    }
  }

  #giveUp(self: number, row: Row, origin: Origin, upTo: number): void {
    const gap = row.history.skip(origin, upTo);
    if (gap === null) return;
    this.#host.metrics.add('pubsub.gap', gap.to - gap.from + 1);
    this.#subscriber.gap(self, origin, gap.from, gap.to);
  }

  #later(self: number, row: Row): void {
    row.timer = this.#host.after(self, limits.history_round_ms, () => {
      if (this.#rows[self] !== row) return;
      const now_ms = this.#host.now_ms(self);
      for (const { origin, upTo } of row.history.overdue(now_ms)) {
        this.#giveUp(self, row, origin, upTo);
        this.#handOn(self, row, origin);
      }
      row.history.expire(now_ms);
      this.#later(self, row);
    });
  }
}

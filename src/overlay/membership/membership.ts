import { kinds, nobody, packet, type Host, type Message, type Packet, type Peer, type PeerSampling, type Protocol, type Rows } from '../core/index.ts';
import { Buried } from './buried.ts';
import { membershipCodecs, put } from './codecs.ts';
import { limits } from './limits.ts';
import type { Links } from './links.ts';
import type { MembershipOptions } from './membership-options.ts';
import { Prober } from './prober.ts';
import { Views } from './view.ts';

/**
 * Who is there: a partial view that is shuffled with one peer a cycle (Cyclon: Voulgaris, Gavidia, van Steen, 2005), and failure
 * detection with local health (SWIM: Das, Gupta, Motivala, 2002; Lifeguard: Dadgar, Phillips, Currey, 2017).
 */
export class Membership implements Protocol, PeerSampling {
  readonly name = 'membership';
  readonly kinds = [kinds.shuffle, kinds.shuffle_reply, kinds.ping, kinds.ack, kinds.ping_request, kinds.join, kinds.leave];
  static readonly codecs = membershipCodecs;
  /** Set once, before the first row starts, where there is a table of links. */
  links: Links | null = null;
  readonly #host: Host;
  readonly #options: MembershipOptions;
  readonly #views: Views;
  readonly #buried: Buried;
  readonly #prober: Prober;
  /** Whom the last shuffle went to and who has not answered; nobody. */
  readonly #partner: number;
  readonly #silence: number;
  readonly #rows: Rows;

  constructor(host: Host, options: MembershipOptions) {
    this.#host = host;
    this.#options = options;
    this.#rows = options.rows;
    this.#partner = options.rows.reserve(1);
    this.#silence = options.rows.reserveBytes(1);
    this.#buried = new Buried(options.rows);
    this.#views = new Views(options.rows);
    this.#prober = new Prober(host, options, this.#views);
  }

  start(self: number, seeds: readonly Peer[]): void {
    this.#views.clear(self);
    this.#buried.clear(self);
    this.#prober.start(self);
    this.#set(self, this.#partner, nobody);
    this.#setSilence(self, 0);
    this.#join(self, seeds);
  }

  #get(self: number, field: number): number {
    return this.#rows.words[self * this.#rows.stride + field]!;
  }

  #set(self: number, field: number, value: number): void {
    this.#rows.words[self * this.#rows.stride + field] = value;
  }

  stop(self: number): void {
    const told = new Set<Peer>(this.links?.all(self) ?? []);
    for (let slot = 0; slot < this.#views.count(self); slot++) told.add(this.#views.peer(self, slot));
    for (const peer of told) this.#host.send(self, peer, packet(kinds.leave));
  }

  sample(self: number, count: number): Peer[] {
    const all = Array.from({ length: this.#views.count(self) }, (_, slot) => this.#views.peer(self, slot));
    return this.#host.random.shuffle(all).slice(0, count);
  }

  /** A random peer of the view, or nobody; cheaper than `sample`. */
  any(self: number): Peer {
    return this.#views.random(self, this.#host.random);
  }

  /** Cycles since a peer of the view was known to live; limits.age_max_cycles when it is not there. */
  ageOf(self: number, peer: Peer): number {
    const slot = this.#views.find(self, peer);
    return slot < 0 ? limits.age_max_cycles : this.#views.age(self, slot);
  }

  gone(self: number, peer: Peer): boolean {
    return this.#buried.has(self, peer);
  }

  /** How unwell the node finds itself, 0 to limits.unwell_max. */
  unwell(self: number): number {
    return this.#prober.unwell(self);
  }

  /** Cycles without any message, at most 255. */
  silence(self: number): number {
    return this.#rows.bytes[self * this.#rows.stride * 4 + this.#silence]!;
  }

  #setSilence(self: number, cycles: number): void {
    this.#rows.bytes[self * this.#rows.stride * 4 + this.#silence] = cycles;
  }

  /** True when nothing was heard from anybody for limits.isolated_cycles. */
  isolated(self: number): boolean {
    return this.silence(self) >= limits.isolated_cycles;
  }

  /** The peers of the view, and how many cycles ago each was known to live. */
  *view(self: number): IterableIterator<{ readonly peer: Peer; readonly age_cycles: number }> {
    for (let slot = 0; slot < this.#views.count(self); slot++) yield { peer: this.#views.peer(self, slot), age_cycles: this.#views.age(self, slot) };
  }

  /** Those last seen dead: they belong into the persisted view. */
  buried(self: number): Iterable<Peer> {
    return this.#buried.all(self);
  }

  marks(self: number, mark: (peer: Peer) => void): void {
    for (const { peer } of this.view(self)) mark(peer);
    for (const peer of this.#buried.all(self)) mark(peer);
    for (const peer of this.#options.fallback(self)) mark(peer);
    this.#prober.marks(self, mark);
    if (this.#get(self, this.#partner) !== nobody) mark(this.#get(self, this.#partner));
  }

  onGone(self: number, peer: Peer): void {
    this.#views.remove(self, peer);
    this.#buried.bury(self, peer);
  }

  onCycle(self: number): void {
    this.#views.grow(self);
    const late = this.#prober.check(self);
    const silent = this.#get(self, this.#partner);
    this.#set(self, this.#partner, nobody);
    if (silent !== nobody && !late) this.#doubt(self, silent);
    this.#setSilence(self, Math.min(255, this.silence(self) + 1));
    if (this.isolated(self) || this.#views.count(self) === 0) this.#rejoin(self);
    else this.#shuffle(self);
    this.#probe(self);
  }

  /** No answer to a shuffle: out of the view, which must hold the living, but no verdict before it was probed. */
  #doubt(self: number, peer: Peer): void {
    this.#views.remove(self, peer);
    this.#prober.begin(self, peer);
  }

  #rejoin(self: number): void {
    this.#host.metrics.add('membership.isolated');
    const known = [...this.#options.fallback(self), ...this.#buried.all(self), ...this.sample(self, limits.join_seeds)];
    this.#join(self, this.#host.random.shuffle([...new Set(known)]).slice(0, limits.join_seeds));
  }

  #join(self: number, seeds: readonly Peer[]): void {
    let asked = 0;
    for (const seed of seeds.slice(0, limits.view)) {
      if (seed === self) continue;
      if (this.#views.find(self, seed) < 0) this.#views.append(self, seed, limits.age_max_cycles / 2);
      if (asked++ >= limits.join_seeds) continue;
      const message = packet(kinds.join);
      message.words[0] = self;
      message.words[1] = limits.join_hops;
      this.#host.send(self, seed, message);
    }
  }

  #shuffle(self: number): void {
    const views = this.#views;
    const slot = views.oldest(self);
    const partner = views.peer(self, slot);
    const message = packet(kinds.shuffle);
    message.words[0] = 0;
    put(message, self, 0);
    // The partner goes to the end, and those that are sent to the front: what comes back takes their places.
    const last = views.count(self) - 1;
    views.swap(self, slot, last);
    this.#select(self, message, last, partner);
    this.#set(self, this.#partner, partner);
    this.#host.send(self, partner, message);
  }

  /** Moves random peers to the front of the view and into the message, up to limits.shuffle in all. */
  #select(self: number, message: Packet, count: number, but: Peer): void {
    const views = this.#views;
    for (let front = 0; front < count && message.words[0]! < limits.shuffle; front++) {
      views.swap(self, front, front + this.#host.random.below(count - front));
      if (views.peer(self, front) !== but) put(message, views.peer(self, front), views.age(self, front));
    }
  }

  #probe(self: number): void {
    if (this.links !== null && this.#host.random.word() % 8 !== 0) this.#prober.begin(self, this.links.weakest(self));
    else this.#prober.begin(self, this.any(self));
    if (this.links !== null) this.#prober.begin(self, this.links.weakest(self));
    if (this.#host.random.below(limits.retry_cycles) === 0) this.#prober.retry(self, this.#buried.random(self, this.#host.random));
  }

  onMessage(self: number, from: Peer, message: Message): void {
    if (from !== self) this.#heard(self, from);
    const { words } = message as Packet;
    switch (message.kind) {
      case kinds.shuffle: return this.#onShuffle(self, from, message as Packet);
      case kinds.shuffle_reply:
        if (this.#get(self, this.#partner) === from) this.#set(self, this.#partner, nobody);
        return this.#merge(self, message as Packet);
      case kinds.ping: return this.#prober.onPing(self, from, words[0]!);
      case kinds.ping_request: return this.#prober.onRequest(self, from, words[0]!);
      case kinds.ack: {
        const alive = this.#prober.onAck(self, from, message as Packet);
        if (alive !== nobody) this.#heard(self, alive);
        return;
      }
      case kinds.join: return this.#onJoin(self, from, words[0]!, words[1]!);
      case kinds.leave: return this.#options.verdict(self, from, 'left');
    }
  }

  #heard(self: number, peer: Peer): void {
    this.#setSilence(self, 0);
    this.#buried.raise(self, peer);
    this.#views.refresh(self, peer, 0);
    this.links?.heard(self, peer);
  }

  #onShuffle(self: number, from: Peer, message: Packet): void {
    const reply = packet(kinds.shuffle_reply);
    reply.words[0] = 0;
    put(reply, self, 0);
    this.#select(self, reply, this.#views.count(self), from);
    this.#host.send(self, from, reply);
    this.#merge(self, message);
  }

  /** Takes in what was sent: into free slots, then in place of what was sent in return. */
  #merge(self: number, { words }: Packet): void {
    let front = 0;
    for (let i = 0; i < words[0]!; i++) {
      const peer = words[1 + 2 * i]!;
      const age = words[2 + 2 * i]!;
      if (peer === self || age > limits.age_max_cycles || this.#buried.has(self, peer)) continue;
      this.links?.offer(self, peer, age);
      if (this.#views.refresh(self, peer, age) || this.#views.append(self, peer, age)) continue;
      this.#views.set(self, front++, peer, age);
    }
  }

  /** A node that joins gets places in views by random walks, so that all are equally well known (Cyclon, section 5). */
  #onJoin(self: number, from: Peer, joiner: Peer, hops: number): void {
    if (joiner === self) return;
    if (hops > limits.join_hops) return this.#host.metrics.add('rejected.malformed');
    this.links?.offer(self, joiner, 0);
    if (hops === limits.join_hops && from === joiner) {
      for (let walk = 0; walk < limits.join_walks; walk++) this.#walk(self, joiner, hops - 1);
      return this.#welcome(self, joiner);
    }
    if (hops > 0) return this.#walk(self, joiner, hops - 1);
    this.#welcome(self, joiner);
  }

  #walk(self: number, joiner: Peer, hops: number): void {
    const next = this.any(self);
    if (next === nobody || next === joiner) return this.#welcome(self, joiner);
    const message = packet(kinds.join);
    message.words[0] = joiner;
    message.words[1] = hops;
    this.#host.send(self, next, message);
  }

  /** Takes the joiner in, and gives it what it replaces and a few more. */
  #welcome(self: number, joiner: Peer): void {
    const reply = packet(kinds.shuffle_reply);
    reply.words[0] = 0;
    put(reply, self, 0);
    this.#select(self, reply, this.#views.count(self), joiner);
    this.#host.send(self, joiner, reply);
    if (this.#views.refresh(self, joiner, 0) || this.#views.append(self, joiner, 0)) return;
    this.#views.set(self, 0, joiner, 0);
  }
}

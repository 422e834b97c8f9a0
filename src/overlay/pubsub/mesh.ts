import type { Host, Protocol } from '../core/host.ts';
import type { Message } from '../core/message.ts';
import { nobody, type Peer } from '../core/peer.ts';
import { kinds } from './kinds.ts';
import { limits } from './limits.ts';

export interface LinkAsk extends Message {
  /** The asker has no link at all: it is let in even when that costs another one its place. */
  readonly urgent: boolean;
  /** The asker has all the links that it wants, and looks whether this one leads to another part of the mesh. */
  readonly trial: boolean;
}

export interface LinkPing extends Message {
  /** Of all that the sender has (Broadcast); unequal ones lead to an exchange. */
  readonly digest: number;
  readonly answer: boolean;
}

/** Who uses the links. */
export interface MeshUser {
  /** `trial`: it will be gone soon, most likely. */
  onLink(self: number, peer: Peer, trial: boolean): void;
  onUnlink(self: number, peer: Peer): void;
  digest(self: number): number;
  onDigest(self: number, peer: Peer, digest: number): void;
}

interface Link {
  heard_ms: number;
  /** When the oldest unanswered ping was sent; -1: none. */
  asked_ms: number;
  tries: number;
  /** One more than is wanted: given up as soon as the other side turns out to have the same messages. */
  readonly trial: boolean;
}

interface Row {
  readonly links: Map<Peer, Link>;
  readonly asked: Map<Peer, number>;
  readonly refused: Map<Peer, number>;
  /** Peers that were heard of before, oldest first (HyParView's passive view): after a mass death the membership's view alone may hold only the dead. */
  readonly passive: Set<Peer>;
  trial: Peer;
  next_trial_ms: number;
  timer: number;
}

/**
 * The active view of HyParView (Leitão, Pereira, Rodrigues, DSN 2007): a few symmetric links per node, kept by pings, replaced from the
 * membership's samples (its passive view). Datagrams tell nobody that the other side is gone, so a link that is silent is asked three times.
 *
 * After a cut that lasted long enough both parts have all the links that they want among themselves, and would stay two. So now and then a
 * node tries one link more, to anybody, and keeps it only while the digests of the two differ.
 */
export class Mesh implements Protocol {
  readonly name = 'mesh';
  readonly kinds = [kinds.link_ask, kinds.link_yes, kinds.link_no, kinds.link_drop, kinds.link_ping];
  readonly #host: Host;
  readonly #sample: (self: number) => Peer;
  readonly #user: MeshUser;
  readonly #rows: (Row | undefined)[] = [];

  /** `sample`: a peer that the membership holds for alive, by chance; `nobody` when it knows none. */
  constructor(host: Host, sample: (self: number) => Peer, user: MeshUser) {
    this.#host = host;
    this.#sample = sample;
    this.#user = user;
  }

  links(self: number): readonly Peer[] {
    return [...(this.#rows[self]?.links.keys() ?? [])];
  }

  isLink(self: number, peer: Peer): boolean {
    return this.#rows[self]?.links.has(peer) ?? false;
  }

  start(self: number, seeds: readonly Peer[]): void {
    const next_trial_ms = this.#host.now_ms(self) + this.#host.random.below(limits.link_trial_ms);
    const row: Row = { links: new Map(), asked: new Map(), refused: new Map(), passive: new Set(), trial: nobody, next_trial_ms, timer: -1 };
    this.#rows[self] = row;
    for (const seed of seeds.slice(0, limits.links_wanted)) this.#ask(self, row, seed);
    this.#later(self, row, this.#host.random.below(limits.link_round_ms));
  }

  stop(self: number): void {
    const row = this.#rows[self];
    if (row === undefined) return;
    this.#host.cancel(row.timer);
    for (const peer of row.links.keys()) this.#host.send(self, peer, { kind: kinds.link_drop });
    this.#rows[self] = undefined;
  }

  onMessage(self: number, from: Peer, message: Message): void {
    const row = this.#rows[self];
    if (row === undefined || from === self) return;
    const link = row.links.get(from);
    if (link !== undefined) this.#alive(self, link);
    switch (message.kind) {
      case kinds.link_ask: return this.#onAsk(self, row, from, message as LinkAsk);
      case kinds.link_yes: return this.#onYes(self, row, from);
      case kinds.link_no:
        row.asked.delete(from);
        return void row.refused.set(from, this.#host.now_ms(self) + limits.link_refused_ms);
      case kinds.link_drop:
        row.asked.delete(from);
        row.refused.set(from, this.#host.now_ms(self) + limits.link_refused_ms);
        return this.#down(self, row, from);
      case kinds.link_ping: return this.#onPing(self, row, from, message as LinkPing);
    }
  }

  onGone(self: number, peer: Peer): void {
    const row = this.#rows[self];
    if (row === undefined) return;
    row.asked.delete(peer);
    row.passive.delete(peer);
    this.#down(self, row, peer);
    this.#fill(self, row);
  }

  marks(self: number, mark: (peer: Peer) => void): void {
    const row = this.#rows[self];
    for (const held of [row?.links, row?.asked, row?.refused, row?.passive]) for (const peer of held?.keys() ?? []) mark(peer);
  }

  /** Something came over the link: it lives. */
  heard(self: number, peer: Peer): void {
    const link = this.#rows[self]?.links.get(peer);
    if (link !== undefined) this.#alive(self, link);
  }

  /** Something was sent that the other side should react to: if it has been silent, ask it now and not at the next keep-alive. */
  sent(self: number, peer: Peer): void {
    const link = this.#rows[self]?.links.get(peer);
    if (link !== undefined && link.asked_ms < 0 && this.#host.now_ms(self) - link.heard_ms > limits.link_answer_ms) this.#ping(self, peer, link);
  }

  #alive(self: number, link: Link): void {
    link.heard_ms = this.#host.now_ms(self);
    link.asked_ms = -1;
    link.tries = 0;
  }

  #onAsk(self: number, row: Row, from: Peer, { urgent, trial }: LinkAsk): void {
    const { random } = this.#host;
    if (!row.links.has(from)) {
      if (row.links.size >= limits.links_max) {
        if (!urgent) return this.#host.send(self, from, { kind: kinds.link_no });
        const victim = [...row.links.keys()][random.below(row.links.size)]!;
        this.#host.send(self, victim, { kind: kinds.link_drop });
        this.#down(self, row, victim);
      }
      this.#up(self, row, from, trial);
    }
    this.#host.send(self, from, { kind: kinds.link_yes });
  }

  /** Others may have come in since we asked. */
  #onYes(self: number, row: Row, from: Peer): void {
    if (row.links.has(from)) return;
    if (row.asked.has(from) && row.links.size < limits.links_max) return this.#up(self, row, from);
    row.asked.delete(from);
    this.#host.send(self, from, { kind: kinds.link_drop });
  }

  #onPing(self: number, row: Row, from: Peer, ping: LinkPing): void {
    if (!row.links.has(from)) {
      // Its 'yes' was lost, or we gave the link up and it does not know.
      if (!row.asked.has(from) || row.links.size >= limits.links_max) return this.#host.send(self, from, { kind: kinds.link_drop });
      this.#up(self, row, from);
    }
    if (!ping.answer) this.#host.send(self, from, { kind: kinds.link_ping, digest: this.#user.digest(self), answer: true } as LinkPing);
    this.#user.onDigest(self, from, ping.digest);
    if (row.links.get(from)?.trial && row.links.size > limits.links_wanted && ping.digest === this.#user.digest(self)) {
      this.#host.send(self, from, { kind: kinds.link_drop });
      this.#down(self, row, from);
    }
  }

  #up(self: number, row: Row, peer: Peer, asked_for_trial = false): void {
    row.asked.delete(peer);
    row.refused.delete(peer);
    if (row.links.has(peer)) return;
    const link: Link = { heard_ms: this.#host.now_ms(self), asked_ms: -1, tries: 0, trial: row.trial === peer };
    if (link.trial) row.trial = nobody;
    row.links.set(peer, link);
    this.#host.metrics.add('mesh.link_up');
    this.#user.onLink(self, peer, link.trial || asked_for_trial);
    this.#ping(self, peer, link);
  }

  #down(self: number, row: Row, peer: Peer): void {
    if (!row.links.delete(peer)) return;
    this.#host.metrics.add('mesh.link_down');
    this.#user.onUnlink(self, peer);
  }

  #ping(self: number, peer: Peer, link: Link): void {
    link.asked_ms = this.#host.now_ms(self);
    this.#host.send(self, peer, { kind: kinds.link_ping, digest: this.#user.digest(self), answer: false } as LinkPing);
  }

  #ask(self: number, row: Row, peer: Peer): void {
    if (peer === nobody || peer === self || row.links.has(peer) || row.asked.has(peer)) return;
    if ((row.refused.get(peer) ?? Number.NEGATIVE_INFINITY) > this.#host.now_ms(self)) return;
    row.asked.set(peer, this.#host.now_ms(self));
    this.#host.send(self, peer, { kind: kinds.link_ask, urgent: row.links.size === 0, trial: row.trial === peer } as LinkAsk);
  }

  #fill(self: number, row: Row): void {
    for (let tries = 0; tries < limits.links_max * 2 && row.links.size + row.asked.size < limits.links_wanted; tries++) this.#ask(self, row, tries % 2 === 0 ? this.#sample(self) : this.#remembered(row));
  }

  #tryOne(self: number, row: Row): void {
    if (row.links.size < limits.links_wanted || row.links.size >= limits.links_max || row.asked.size > 0) return;
    const now_ms = this.#host.now_ms(self);
    if (now_ms < row.next_trial_ms) return;
    row.next_trial_ms = now_ms + limits.link_trial_ms / 2 + this.#host.random.below(limits.link_trial_ms);
    row.trial = this.#sample(self);
    this.#ask(self, row, row.trial);
  }

  #remembered(row: Row): Peer {
    let skip = this.#host.random.below(row.passive.size);
    for (const peer of row.passive) if (skip-- === 0) return peer;
    return nobody;
  }

  /** One more sample each round: peers of several views' time. */
  #remember(self: number, row: Row): void {
    const peer = this.#sample(self);
    if (peer === nobody || peer === self) return;
    row.passive.delete(peer);
    row.passive.add(peer);
    for (const oldest of row.passive) {
      if (row.passive.size <= limits.passive_max) break;
      row.passive.delete(oldest);
    }
  }

  #later(self: number, row: Row, delay_ms: number): void {
    row.timer = this.#host.after(self, delay_ms, () => {
      if (this.#rows[self] !== row) return;
      this.#round(self, row);
      // Nothing is open: the next thing to do is the next keep-alive.
      const busy = row.asked.size > 0 || row.links.size === 0 || [...row.links.values()].some(({ asked_ms }) => asked_ms >= 0);
      this.#later(self, row, busy ? limits.link_round_ms : limits.link_keepalive_ms / 2);
    });
  }

  #round(self: number, row: Row): void {
    const now_ms = this.#host.now_ms(self);
    this.#remember(self, row);
    for (const [peer, link] of [...row.links]) {
      if (link.asked_ms >= 0) {
        if (now_ms - link.asked_ms < limits.link_answer_ms) continue;
        if (++link.tries >= limits.link_tries_max) {
          row.refused.set(peer, now_ms + limits.link_refused_ms);
          this.#down(self, row, peer);
        } else this.#ping(self, peer, link);
      } else if (now_ms - link.heard_ms >= limits.link_keepalive_ms) this.#ping(self, peer, link);
    }
    for (const [peer, at_ms] of [...row.asked]) {
      if (now_ms - at_ms < limits.link_answer_ms) continue;
      row.asked.delete(peer);
      row.passive.delete(peer);
      row.refused.set(peer, now_ms + limits.link_refused_ms);
    }
    for (const [peer, until_ms] of [...row.refused]) if (until_ms <= now_ms) row.refused.delete(peer);
    this.#fill(self, row);
    this.#tryOne(self, row);
  }
}

import { kinds, limits as core, nobody, packet, realOf, wordOf, type Host, type Packet, type Peer } from '../core/index.ts';
import { limits } from './limits.ts';
import { Probes, stage } from './probes.ts';
import type { MembershipOptions } from './membership-options.ts';
import type { Views } from './view.ts';

/**
 * Probing: ask directly; in the next cycle through helpers; then judge. A node whose helpers do not answer either has found out something
 * about itself and judges nobody; the worse it finds itself, the longer it waits.
 */
export class Prober {
  readonly #host: Host;
  readonly #options: MembershipOptions;
  readonly #views: Views;
  readonly #probes: Probes;
  /** The node's clock at its last cycle, modulo 2^32. */
  readonly #cycled: number;

  constructor(host: Host, options: MembershipOptions, views: Views) {
    this.#host = host;
    this.#options = options;
    this.#views = views;
    this.#probes = new Probes(options.rows);
    this.#cycled = options.rows.reserve(1);
  }

  start(self: number): void {
    this.#probes.clear(self);
    this.#options.rows.words[self * this.#options.rows.stride + this.#cycled] = this.#host.now_ms(self);
  }

  unwell(self: number): number {
    return this.#probes.unwell(self);
  }

  marks(self: number, mark: (peer: Peer) => void): void {
    for (let slot = 0; slot < limits.probes; slot++) if (this.#probes.target(self, slot) !== nobody) mark(this.#probes.target(self, slot));
  }

  /** Begins to probe a peer, unless it is under way or there is no slot free. */
  begin(self: number, peer: Peer): void {
    if (peer === nobody || peer === self || this.#probes.find(self, peer) >= 0) return;
    const slot = this.#probes.find(self, nobody);
    if (slot < 0) return;
    this.#probes.begin(self, slot, peer, this.#host.now_ms(self));
    this.#ping(self, peer, nobody);
  }

  /** One ping, without consequences: perhaps the dead one lives. */
  retry(self: number, peer: Peer): void {
    if (peer !== nobody) this.#ping(self, peer, nobody);
  }

  #ping(self: number, peer: Peer, for_whom: Peer): void {
    const message = packet(kinds.ping);
    message.words[0] = for_whom;
    this.#host.send(self, peer, message);
  }

  /** At the beginning of a cycle. True when the cycle came late: this node was slow, and silence means nothing. */
  check(self: number): boolean {
    const now_ms = this.#host.now_ms(self);
    const { words, stride } = this.#options.rows;
    const at = self * stride + this.#cycled;
    const late = ((now_ms - words[at]!) >>> 0) > (this.#options.cycle_ms ?? core.cycle_ms) * 1.5;
    words[at] = now_ms;
    if (late) this.#probes.worse(self);
    for (let slot = 0; slot < limits.probes; slot++) this.#advance(self, slot, late);
    return late;
  }

  #advance(self: number, slot: number, late: boolean): void {
    const probes = this.#probes;
    const peer = probes.target(self, slot);
    if (peer === nobody) return;
    const waited = probes.wait(self, slot);
    if (late || waited <= probes.unwell(self)) return this.#ping(self, peer, nobody);
    if (probes.stage(self, slot) === stage.direct) return this.#askHelpers(self, slot, peer);
    const helped = probes.helped(self, slot);
    probes.end(self, slot);
    if (helped === 0 && this.#views.count(self) > 1) {
      probes.worse(self);
      this.#host.metrics.add('membership.own_trouble');
      return;
    }
    probes.better(self);
    this.#options.verdict(self, peer, 'dead');
  }

  #askHelpers(self: number, slot: number, peer: Peer): void {
    this.#probes.askHelpers(self, slot);
    this.#ping(self, peer, nobody);
    for (let asked = 0; asked < limits.helpers; asked++) {
      const helper = this.#views.random(self, this.#host.random);
      if (helper === nobody || helper === peer) continue;
      const message = packet(kinds.ping_request);
      message.words[0] = peer;
      this.#host.send(self, helper, message);
    }
  }

  onPing(self: number, from: Peer, for_whom: Peer): void {
    this.#ack(self, from, nobody, 1, for_whom);
  }

  /** Says at once that it is there itself: that tells the asker whether the fault is its own. */
  onRequest(self: number, from: Peer, peer: Peer): void {
    this.#ack(self, from, peer, 0, nobody);
    if (peer !== self) this.#ping(self, peer, from);
  }

  #ack(self: number, to: Peer, about: Peer, alive: number, for_whom: Peer): void {
    const message = packet(kinds.ack);
    const { words } = message;
    words[0] = about;
    words[1] = alive;
    words[2] = for_whom;
    const { coordinates } = this.#host.book;
    for (let i = 0; i < 4; i++) words[3 + i] = wordOf(coordinates[self * 4 + i]!);
    this.#host.send(self, to, message);
  }

  /** Returns the peer that lives by a helper's word, or nobody. */
  onAck(self: number, from: Peer, { words }: Packet): Peer {
    const about = words[0]!;
    if (words[2]! !== nobody) {
      if (words[2]! !== self) this.#ack(self, words[2]!, from, 1, nobody);
      return nobody;
    }
    const slot = this.#probes.find(self, about === nobody ? from : about);
    if (slot < 0) return nobody;
    if (words[1] === 0) {
      this.#probes.helperAnswered(self, slot);
      return nobody;
    }
    const ms = about === nobody ? this.#probes.roundTrip_ms(self, slot, this.#host.now_ms(self)) : -1;
    if (ms >= 0) this.#options.roundTrip?.(self, ms, Array.from(words.subarray(3, 7), realOf), from);
    this.#probes.end(self, slot);
    this.#probes.better(self);
    return about;
  }
}

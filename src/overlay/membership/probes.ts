import { nobody, type Peer, type Rows } from '../core/index.ts';
import { limits } from './limits.ts';

/** Where a probe stands: none, asked directly, asked through helpers. */
export const stage = { none: 0, direct: 1, helped: 2 } as const;

/** The probes under way of all rows, and how well each finds itself (Lifeguard). */
export class Probes {
  readonly #rows: Rows;
  /** Words: whom, and the milliseconds of the node's clock, modulo 2^32, when the direct ping was sent. */
  readonly #targets: number;
  readonly #sent: number;
  /** Bytes: the stage, the cycles since it began, the helpers that answered; and once a row how unwell it is. */
  readonly #stages: number;
  readonly #waits: number;
  readonly #helped: number;
  readonly #unwell: number;

  constructor(rows: Rows) {
    this.#rows = rows;
    this.#targets = rows.reserve(limits.probes);
    this.#sent = rows.reserve(limits.probes);
    this.#stages = rows.reserveBytes(3 * limits.probes + 1);
    this.#waits = this.#stages + limits.probes;
    this.#helped = this.#waits + limits.probes;
    this.#unwell = this.#helped + limits.probes;
  }

  #word(self: number, field: number, slot: number): number {
    return self * this.#rows.stride + field + slot;
  }

  #byte(self: number, field: number, slot: number): number {
    return self * this.#rows.stride * 4 + field + slot;
  }

  clear(self: number): void {
    for (let slot = 0; slot < limits.probes; slot++) this.end(self, slot);
    this.#rows.bytes[this.#byte(self, this.#unwell, 0)] = 0;
  }

  target(self: number, slot: number): Peer {
    return this.#rows.words[this.#word(self, this.#targets, slot)]!;
  }

  stage(self: number, slot: number): number {
    return this.#rows.bytes[this.#byte(self, this.#stages, slot)]!;
  }

  /** The slot that probes `peer`, or -1. */
  find(self: number, peer: Peer): number {
    for (let slot = 0; slot < limits.probes; slot++) if (this.target(self, slot) === peer) return slot;
    return -1;
  }

  begin(self: number, slot: number, peer: Peer, now_ms: number): void {
    this.#rows.words[this.#word(self, this.#targets, slot)] = peer;
    this.#rows.words[this.#word(self, this.#sent, slot)] = now_ms;
    this.#rows.bytes[this.#byte(self, this.#stages, slot)] = stage.direct;
    this.#rows.bytes[this.#byte(self, this.#waits, slot)] = 0;
    this.#rows.bytes[this.#byte(self, this.#helped, slot)] = 0;
  }

  askHelpers(self: number, slot: number): void {
    this.#rows.bytes[this.#byte(self, this.#stages, slot)] = stage.helped;
    this.#rows.bytes[this.#byte(self, this.#waits, slot)] = 0;
  }

  end(self: number, slot: number): void {
    this.#rows.words[this.#word(self, this.#targets, slot)] = nobody;
    this.#rows.bytes[this.#byte(self, this.#stages, slot)] = stage.none;
  }

  /** One more cycle; returns how many the stage has lasted. */
  wait(self: number, slot: number): number {
    return ++this.#rows.bytes[this.#byte(self, this.#waits, slot)]!;
  }

  helperAnswered(self: number, slot: number): void {
    const at = this.#byte(self, this.#helped, slot);
    if (this.#rows.bytes[at]! < 255) this.#rows.bytes[at]!++;
  }

  helped(self: number, slot: number): number {
    return this.#rows.bytes[this.#byte(self, this.#helped, slot)]!;
  }

  /** The round trip of the direct ping, milliseconds; -1 when it was not answered directly. */
  roundTrip_ms(self: number, slot: number, now_ms: number): number {
    if (this.stage(self, slot) !== stage.direct || this.#rows.bytes[this.#byte(self, this.#waits, slot)] !== 0) return -1;
    return (now_ms - this.#rows.words[this.#word(self, this.#sent, slot)]!) >>> 0;
  }

  unwell(self: number): number {
    return this.#rows.bytes[this.#byte(self, this.#unwell, 0)]!;
  }

  worse(self: number): void {
    if (this.unwell(self) < limits.unwell_max) this.#rows.bytes[this.#byte(self, this.#unwell, 0)]!++;
  }

  better(self: number): void {
    if (this.unwell(self) > 0) this.#rows.bytes[this.#byte(self, this.#unwell, 0)]!--;
  }
}

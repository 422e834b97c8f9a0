import { nobody, type Peer } from '../core/index.ts';
import { limits } from './limits.ts';

/** Where a probe stands: none, asked directly, asked through helpers. */
export const stage = { none: 0, direct: 1, helped: 2 } as const;

/** The probes under way of all rows, and how well each finds itself (Lifeguard). */
export class Probes {
  readonly #targets: Uint32Array;
  readonly #stages: Uint8Array;
  /** Cycles since the present stage began, and helpers that answered. */
  readonly #waits: Uint8Array;
  readonly #helped: Uint8Array;
  /** Milliseconds of the node's clock, modulo 2^32, when the direct ping was sent. */
  readonly #sent: Uint32Array;
  readonly #unwell: Uint8Array;

  constructor(capacity: number) {
    this.#targets = new Uint32Array(capacity * limits.probes).fill(nobody);
    this.#stages = new Uint8Array(capacity * limits.probes);
    this.#waits = new Uint8Array(capacity * limits.probes);
    this.#helped = new Uint8Array(capacity * limits.probes);
    this.#sent = new Uint32Array(capacity * limits.probes);
    this.#unwell = new Uint8Array(capacity);
  }

  clear(self: number): void {
    for (let slot = 0; slot < limits.probes; slot++) this.end(self, slot);
    this.#unwell[self] = 0;
  }

  target(self: number, slot: number): Peer {
    return this.#targets[self * limits.probes + slot]!;
  }

  stage(self: number, slot: number): number {
    return this.#stages[self * limits.probes + slot]!;
  }

  /** The slot that probes `peer`, or -1. */
  find(self: number, peer: Peer): number {
    const base = self * limits.probes;
    for (let slot = 0; slot < limits.probes; slot++) if (this.#targets[base + slot] === peer) return slot;
    return -1;
  }

  begin(self: number, slot: number, peer: Peer, now_ms: number): void {
    const at = self * limits.probes + slot;
    this.#targets[at] = peer;
    this.#stages[at] = stage.direct;
    this.#waits[at] = 0;
    this.#helped[at] = 0;
    this.#sent[at] = now_ms;
  }

  askHelpers(self: number, slot: number): void {
    const at = self * limits.probes + slot;
    this.#stages[at] = stage.helped;
    this.#waits[at] = 0;
  }

  end(self: number, slot: number): void {
    const at = self * limits.probes + slot;
    this.#targets[at] = nobody;
    this.#stages[at] = stage.none;
  }

  /** One more cycle; returns how many the stage has lasted. */
  wait(self: number, slot: number): number {
    return ++this.#waits[self * limits.probes + slot]!;
  }

  helperAnswered(self: number, slot: number): void {
    const at = self * limits.probes + slot;
    if (this.#helped[at]! < 255) this.#helped[at]!++;
  }

  helped(self: number, slot: number): number {
    return this.#helped[self * limits.probes + slot]!;
  }

  /** The round trip of the direct ping, milliseconds; -1 when it was not answered directly. */
  roundTrip_ms(self: number, slot: number, now_ms: number): number {
    const at = self * limits.probes + slot;
    return this.#stages[at] === stage.direct && this.#waits[at] === 0 ? (now_ms - this.#sent[at]!) >>> 0 : -1;
  }

  unwell(self: number): number {
    return this.#unwell[self]!;
  }

  worse(self: number): void {
    if (this.#unwell[self]! < limits.unwell_max) this.#unwell[self]!++;
  }

  better(self: number): void {
    if (this.#unwell[self]! > 0) this.#unwell[self]!--;
  }
}

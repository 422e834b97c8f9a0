import type { Book } from './book.ts';
import type { Metrics } from './metrics.ts';
import type { Message } from './message.ts';
import type { Peer } from './peer.ts';
import type { Random } from './random.ts';

/**
 * What a protocol may do to the world. One Host serves all rows (`self`) of a protocol: one row in xosd (`self` = 0), all nodes in the
 * simulator (`self` = the node). `self` is also the row of the node's own descriptor in the Book, so it can be sent as a Peer.
 */
export interface Host {
  readonly book: Book;
  readonly metrics: Metrics;
  readonly random: Random;
  /** The clock of `self`, milliseconds; never jumps back, may drift. Only differences mean something. */
  now_ms(self: number): number;
  /**
   * Sends without waiting; may be lost, doubled or late, like a datagram. The message belongs to the host from here on: do not touch it
   * again. Sending to oneself is allowed and arrives later like any other.
   */
  send(self: number, to: Peer, message: Message): void;
  /** Calls `what` once after `delay_ms` on the clock of `self`, unless `self` stops before. Returns a handle for `cancel`. */
  after(self: number, delay_ms: number, what: () => void): number;
  cancel(handle: number): void;
}

/**
 * A protocol, written once. It keeps state for `capacity` rows, as typed arrays with one stride per node or as an array of objects, and is
 * told what happens to a row. It never waits, and throws only when it is broken: bad input is dropped and counted in `metrics`.
 */
export interface Protocol {
  readonly name: string;
  /** The kinds of message that are handed to it (kinds.ts). */
  readonly kinds: readonly number[];
  /** The row begins: forget everything that was there. `seeds` are peers that may be alive (may be empty: the first node). */
  start(self: number, seeds: readonly Peer[]): void;
  /** The row ends in order: say goodbye, if the protocol does. No calls after this. */
  stop(self: number): void;
  /** Once a cycle (limits.cycle_ms by the node's clock, at a phase of its own). */
  onCycle?(self: number): void;
  /** The message is valid for the call only; copy what is kept. `from` is authenticated. */
  onMessage(self: number, from: Peer, message: Message): void;
  /** A membership verdict (it left, or is dead); drop what is held of it. Also called when the host cannot connect to it. */
  onGone?(self: number, peer: Peer, why: 'left' | 'dead'): void;
  /** The own attributes changed: the Book's row of `self` is new already. */
  onChanged?(self: number): void;
  /** Calls `mark` for every peer that the row holds, so that the Book can free the rest. xosd only. */
  marks?(self: number, mark: (peer: Peer) => void): void;
}

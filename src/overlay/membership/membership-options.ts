import type { Peer, Rows } from '../core/index.ts';

export interface MembershipOptions {
  /** Where the state lives; of capacity 1 in xosd. */
  readonly rows: Rows;
  /** The period of cycles; default core limits.cycle_ms. */
  readonly cycle_ms?: number;
  /** Who may be asked when nobody is heard any more: configured seeds and those of the persisted view, dead ones too. */
  readonly fallback: (self: number) => readonly Peer[];
  /** A peer left or is dead: to be told to all protocols (Protocol.onGone), this one among them. */
  readonly verdict: (self: number, peer: Peer, why: 'left' | 'dead') => void;
  /** A direct round trip was measured: milliseconds, and what the peer says of its coordinates (x, y, height, error). */
  readonly roundTrip?: (self: number, ms: number, coordinates: ArrayLike<number>, peer: Peer) => void;
}

import type { Peer } from '../core/index.ts';

/** Who depends on membership and helps it in turn: the table of links of RSS. */
export interface Links {
  /** The peer spoke to us just now. */
  heard(self: number, peer: Peer): void;
  /** Somebody says that the peer lived `age` cycles ago. */
  offer(self: number, peer: Peer, age: number): void;
  /** The link that most needs a probe, or nobody. */
  weakest(self: number): Peer;
  /** All links, for the goodbye. */
  all(self: number): Iterable<Peer>;
}

import type { Peer } from './peer.ts';

/** What membership gives to other protocols. */
export interface PeerSampling {
  /** Up to `count` different peers, chosen at random from those that were heard of lately; never `self`. */
  sample(self: number, count: number): Peer[];
  /** True when the peer was declared dead or left, and was not heard of since. */
  gone(self: number, peer: Peer): boolean;
}

/** What RSS gives to others (the DHT): a table of links over 64-bit keys, closest by XOR. */
export interface KeyTable {
  /** The high and low word of a peer's key. */
  high(peer: Peer): number;
  low(peer: Peer): number;
  /** The up to `count` known peers, `self` among them, that are closest to a key by XOR, closest first. */
  closest(self: number, high: number, low: number, count: number): Peer[];
  /** It did not answer: the link is dropped when it does not answer the next probe either. */
  suspect(self: number, peer: Peer): void;
}

import { hour_ms, second_ms } from '../../core/units.ts';

/** The bounds of the DHT, in one place. Units are last in the name. */
export const limits = {
  /** Nodes that keep a value, and that a look-up hears before it ends. */
  replicas: 4,
  /** Peers that are asked at the same time. */
  parallel: 3,
  /** Peers in one answer, and the best ones that a look-up remembers. */
  peers_per_answer: 6,
  candidates_max: 32,
  answer_ms: second_ms,
  tries_max: 2,
  asked_max: 64,
  search_ms: 15 * second_ms,
  searches_max: 256,
  value_bytes_max: 4_096,
  values_max: 4_096,
  values_per_peer_max: 512,
  value_life_ms_max: hour_ms,
  /** A value's holders look every so many cycles whether the nodes that should have it do. */
  replicate_cycles: 6,
} as const;

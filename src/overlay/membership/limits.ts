/** The bounds of membership: what one node keeps and sends. Units are last in the name; a cycle is core limits.cycle_ms. */
export const limits = {
  /** Peers in the partial view. */
  view: 12,
  /** Descriptors in a shuffle, the own one among them. */
  shuffle: 6,
  /** Peers that were declared dead or left lately: not believed from hearsay, tried again now and then. */
  buried: 6,
  /** Peers that are probed at once. */
  probes: 2,
  /** Those asked to try in one's place before a verdict. */
  helpers: 3,
  /** Hearsay about a peer that nobody heard for so many cycles is dropped. */
  age_max_cycles: 40,
  /** Without any message for so many cycles a node is isolated and joins again. */
  isolated_cycles: 5,
  /** Seeds that are asked at once. */
  join_seeds: 3,
  join_walks: 3,
  join_hops: 4,
  /** Lifeguard: how unwell a node may find itself; each point adds a cycle of patience. */
  unwell_max: 8,
  /** A buried peer is tried again about once in so many cycles: it heals partitions. */
  retry_cycles: 6,
} as const;

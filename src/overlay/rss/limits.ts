/** The bounds of RSS. Units are last in the name; a cycle is core limits.cycle_ms. */
export const limits = {
  /** Attributes in one key: more would make every cut of one too coarse. */
  key_attributes_max: 5,
  keys_max: 4,
  /** Peers a bucket: with one, every death is a hole. */
  bucket: 3,
  /** Buckets that hold somebody, at most. With 10^6 nodes 20 do on average, more than 22 for one node of a hundred. */
  buckets: 22,
  /** Peers in one exchange. */
  exchange: 14,
  /** A row asks its neighbours more often at first. Even. */
  eager_cycles: 8,
  /** A newcomer shows itself to the peers of so many of its nearest buckets at once. */
  neighbour_buckets: 3,
  /** Hearsay of this age is not taken into the table. */
  age_max_cycles: 30,
  /** A peer replaces one in its bucket that is older by at least this. */
  fresher_cycles: 3,

  /** Cuts along one attribute; those of how many versions are kept. */
  cuts_max: 255,
  cuts_known_max: 16,
  /** One node in the whole overlay begins to sample about every so many cycles, until it has seen so many peers. */
  cuts_sample_cycles: 8,
  cuts_sample: 256,
  /** In an overlay that is too small for that, what was seen has to do after about so many. */
  cuts_give_up_cycles: 40,
  cuts_fan_out: 6,
  cuts_compare_cycles: 16,
  cuts_skip_max: 16,

  /** Constraints in a query, values in a set, bytes of a text, nodes that may be asked for. */
  constraints_max: 32,
  set_values_max: 64,
  query_text_bytes_max: 4096,
  wanted_max: 100_000,
  /** Queries that one node runs at once for itself, and walks it takes part in for others. */
  queries_max: 64,
  walks_max: 1024,
  /** Matches in one answer. */
  answer_peers_max: 48,
  /** Subtrees in one answer. */
  answer_rest_max: 24,
  /** Nodes that a query for some asks before it settles for what it has. */
  asked_max: 256,
  /** A peer that has not answered by then is passed over. */
  answer_timeout_ms: 1_500,
  /** Only the parts of so many of the last buckets are taken for known when they are not full. */
  whole_buckets: 6,
  /** A node that began fewer cycles ago takes no part of a walk: it may not know its own. */
  walk_after_cycles: 2,
  /** A part of a walk that nobody took by then goes to another node. */
  accept_timeout_ms: 800,
  /** Who has a part and says nothing for so long is asked whether it still has it. */
  walk_ask_again_ms: 2_500,
  /** What was told is kept so long, to be told again when the message was lost. */
  walk_told_ms: 10_000,
  /** An exhaustive walk is over after this much; what has not come is missing. */
  walk_deadline_ms: 20_000,
  /** A helper's share of its own deadline that it leaves to those below. */
  walk_margin_ms: 500,
  /** Somebody else is asked meanwhile when there is no answer by then. */
  answer_hedge_ms: 300,
  parts_grace_ms: 300,
  /** Descriptors at hand that nobody has heard of for longer are no answer. */
  answer_age_max_cycles: 20,
} as const;

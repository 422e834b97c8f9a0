import { kib, mib, minute_ms, second_ms } from '../../core/units.ts';

/** The bounds of publish-subscribe, in one place. Units are last in the name. */
export const limits = {
  topic_levels_max: 16,
  topic_level_bytes_max: 64,
  topic_bytes_max: 512,
  /** What one message may carry: with its frame it has to fit one message of the overlay (64 KiB). */
  payload_bytes_max: 48 * kib,
  user_bytes_max: 64,
  node_bytes_max: 64,
  /** Messages that were published at about the same time travel and are signed together. */
  bundle_items_max: 256,
  bundle_bytes_max: 56 * kib,
  bundle_ms: 10,
  filter_characters_max: 1_024,
  filter_terms_max: 64,
  filter_depth_max: 16,

  /** A node's active view: symmetric links over which messages travel (HyParView: log10(n) + 1). */
  links_wanted: 5,
  /** More are let in while others repair. */
  links_max: 7,
  passive_max: 32,
  link_round_ms: second_ms,
  link_keepalive_ms: 8 * second_ms,
  /** An answer that is this late is taken for lost and asked for again, at the end the link is given up. */
  link_answer_ms: second_ms,
  link_tries_max: 3,
  /** About this often a node with all its links tries one more, in case the mesh is in two parts. */
  link_trial_ms: minute_ms,
  /** A candidate that did not answer, or did not want, is left alone for this long. */
  link_refused_ms: 10 * second_ms,

  /** An announced message that did not come by itself is asked for after this (more where they turn out to come later), and then of the next one who has it. */
  graft_after_ms: 200,
  graft_after_ms_max: 2 * second_ms,
  graft_again_ms: 400,
  graft_tries_max: 8,
  missing_max: 4_096,
  ranges_per_message_max: 512,
  /** What a neighbour asks for again is sent in portions of this size. */
  recover_messages_max: 64,
  recover_bytes_max: 256 * kib,
  digest_entries_max: 2_048,
  /**
   * A link that announces messages with so many hops fewer than the way by which they come, on average over at least `_min` and about the last
   * `shorter_messages` ones, takes that way's place; a node does that so often at most.
   */
  shorter_hops: 1,
  shorter_messages_min: 4,
  shorter_messages: 16,
  shorter_wait_ms: 2 * second_ms,
  announce_wait_ms: 20,
  announce_ids_max: 512,

  /** What a node keeps for those who were away: of each publisher, of all, and for how long. */
  history_per_origin_max: 256,
  history_messages_max: 8_192,
  history_bytes_max: 8 * mib,
  history_ms: 10 * minute_ms,
  /** Publishers that are remembered (with the number of their last message) after their messages are gone. */
  origins_max: 16_384,
  /** A message that came before its predecessors waits this long for them; then they count as missed. */
  gap_wait_ms: 10 * second_ms,
  gap_messages_max: 512,
  history_round_ms: 5 * second_ms,
  /** The first message that is heard of a publisher: up to this number the earlier ones are waited for. */
  first_seq_max: 32,
  /** Messages whose publisher's key is not known yet. */
  unknown_max: 256,
  /** Bundles a second of one publisher before the rest is dropped, and how many it may save up. */
  origin_messages_per_second: 200,
  origin_messages_burst: 1_000,

  subscriptions_max: 1_024,
  subscriptions_per_user_max: 128,
  /** A subscriber that does not read loses the oldest beyond this and is told how many. */
  subscriber_backlog_max: 4_096,
  subscriber_backlog_bytes_max: 4 * mib,
} as const;

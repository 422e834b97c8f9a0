import { minute_ms, second_ms } from '../../core/units.ts';

/** The bounds of the overlay in xosd: what strangers and peers can make it do. Units are last in the name. */
export const limits = {
  /** A datagram of ours: fits the smallest path of IPv6 with its headers. Longer messages go in pieces. */
  datagram_bytes_max: 1_232,
  frame_bytes_max: 65_536,
  pieces_max: 64,
  assemblies_per_peer_max: 8,
  assembly_ms: 2 * second_ms,
  /** Sessions that are kept; the one that was used longest ago goes. */
  sessions_max: 8_192,
  /** Introductions to one peer, and how many of strangers are looked at (each costs a verified signature). */
  hello_every_ms: second_ms,
  hellos_per_second: 100,
  hellos_burst: 400,
  hellos_per_address_per_second: 20,
  hellos_per_address_burst: 100,
  addresses_max: 4_096,
  /** Answers to datagrams that cannot be read. */
  whos_per_second: 20,
  whos_burst: 40,
  /** Datagrams that were sent lately and go again when the other side turns out to have a new key. */
  recent_max: 4,
  recent_ms: 2 * second_ms,
  replay_window: 1_024,

  /** Before a node enters it looks what it is; at most so long. */
  describe_wait_ms: 3 * second_ms,
  enter_wait_ms: 500,
  enter_again_ms: 2 * second_ms,
  enter_seeds_max: 5,
  enter_view_seeds_max: 3,
  view_save_ms: minute_ms,
  view_nodes_max: 64,
  /** Local subscribers to a channel make the other nodes publish there; told again so that it is not forgotten. */
  interest_again_ms: 4 * minute_ms,
  interest_life_ms: 9 * minute_ms,
  confirm_ms: second_ms,
  start_poll_ms: 100,
  start_polls_max: 80,
  subscription_lag_ms: minute_ms,
  portion_messages_max: 64,
  portion_bytes_max: 256 * 1024,
  /** Members of a shape meet at so many keys of the DHT; each reads all of them, often at first. */
  shape_places: 8,
  shape_meet_ms: 500,
  shape_meet_ms_max: 30 * second_ms,
  shape_life_ms: 2 * minute_ms,
  query_ms: 10 * second_ms,
  query_count_max: 10_000,
  /** Of the attributes that there are, in the answer to a query for one that there is not. */
  names_shown_max: 128,
  /** Up to so many nodes are asked one by one what they do; for more a directory (ADS) is opened, and asked when they had so long to report. */
  ask_directly_max: 16,
  directory_wait_ms: 1_500,
  /** An application's directory is asked so often, and RSS for others to open it on. */
  follow_ms: second_ms,
  follow_again_ms: 30 * second_ms,
  /** What users measure on a node, and how long a value is believed. */
  metrics_max: 16,
  metrics_per_user_max: 4,
  metric_life_ms: minute_ms,
  metric_life_ms_min: second_ms,
  metric_life_ms_max: 60 * minute_ms,
  /** How often the free disk is looked at. */
  disk_free_ms: 30 * second_ms,
  /** Descriptors that were asked for by root or members, a second. */
  describe_per_second: 1,
  describe_burst: 10,
} as const;

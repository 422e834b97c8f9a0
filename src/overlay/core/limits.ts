import { minute_ms, second_ms } from '../../core/units.ts';

/** Every bound of the overlay's core: what a peer can make us decode, keep or do. Units are last in the name. */
export const limits = {
  /** One overlay message, encoded. */
  message_bytes_max: 64 * 1024,
  /** One descriptor, encoded, with its certificate. */
  descriptor_bytes_max: 4096,
  certificate_bytes_max: 2048,
  addresses_max: 8,
  address_bytes_max: 64,
  sites_max: 4,
  vos_max: 16,
  attributes_max: 64,
  /** Names of attributes, of all peers; when there are more, those are let go that nobody bears any more, so often at most. */
  columns_max: 256,
  columns_release_ms: minute_ms,
  attribute_name_bytes_max: 48,
  attribute_text_bytes_max: 96,
  name_bytes_max: 64,
  /** Descriptors (or peers) in one message. */
  peers_per_message_max: 64,
  /** Peers that a node remembers at once, itself included. What no protocol holds goes first. */
  book_peers_max: 8192,
  /** A descriptor is issued anew at least this often, and believed for three times as long. */
  descriptor_refresh_ms: 10 * minute_ms,
  descriptor_life_ms: 30 * minute_ms,
  /** How far a descriptor's clock may be ahead of ours. */
  clock_ahead_ms: minute_ms,
  /** Messages a second from one peer before the rest is dropped, and how many it may save up. */
  peer_messages_per_second: 200,
  peer_messages_burst: 1000,
  /** The period of `onCycle`. */
  cycle_ms: 10 * second_ms,
} as const;

/** Numbers of message kinds on the wire: one byte. Never given twice; a protocol takes from its own range. */
export const kinds = {
  // 1-15: membership
  shuffle: 1,
  shuffle_reply: 2,
  ping: 3,
  ack: 4,
  ping_request: 5,
  join: 6,
  leave: 7,
  gone: 8,
  // 16-31: RSS
  rss_exchange: 16,
  rss_reply: 17,
  rss_query: 18,
  rss_answer: 19,
  rss_walk: 20,
  rss_accept: 21,
  rss_part: 22,
  rss_done: 23,
  rss_cuts: 24,
  // 32-47: ADS
  ads_open: 32,
  ads_report: 33,
  ads_ask: 34,
  ads_answer: 35,
  ads_close: 36,
  // 48-63: publish-subscribe, 64-79: DHT, 80-95: shapes
} as const;

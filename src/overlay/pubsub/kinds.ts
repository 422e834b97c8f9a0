/** Numbers of this part's messages on the wire (src/overlay/core/kinds.ts keeps the ranges: 48 to 63). Never given twice. */
export const kinds = {
  link_ask: 48,
  link_yes: 49,
  link_no: 50,
  link_drop: 51,
  link_ping: 52,
  gossip: 53,
  have: 54,
  announce: 55,
  graft: 56,
  prune: 57,
  digest: 58,
  who: 59,
  whois: 60,
} as const;

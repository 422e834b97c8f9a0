/** The bounds of ADS. Units are last in the name. */
export const limits = {
  /** Directories that a node owns, and those that it takes part in or keeps for others. */
  owned_max: 256,
  joined_max: 512,
  /** Nodes of one application, and those of them that keep its directory. */
  members_max: 1024,
  replicas: 3,
  /** Members told in one message: they come as whole descriptors. */
  members_per_message: 32,
  app_bytes_max: 96,
  metrics_max: 16,
  metric_name_bytes_max: 48,
  /** How often members report, and what the owner may ask for. */
  report_ms: 1_000,
  report_ms_min: 200,
  report_ms_max: 60_000,
  /** What was reported so many intervals ago is not believed. */
  stale_reports: 4,
  /** A directory that its owner does not renew is gone after this; it renews three times as often. */
  lease_ms: 30_000,
  /** One replica is asked, after so long of silence another one, and after the last so long nobody is waited for. */
  hedge_ms: 300,
  give_up_ms: 1_500,
  answer_peers_max: 48,
  asks_max: 256,
} as const;

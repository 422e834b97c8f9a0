import { day_ms, hour_ms, kib, mib, minute_ms, second_ms } from './units.ts';

/** The bounds of the control plane, in one place. Units are last in the name. */
export const limits = {
  /** One line of a control socket; the C++ side has the same bound (native/base/src/control.h). */
  control_line_bytes_max: mib,
  /** A controller that does not read is dropped at this backlog. */
  control_backlog_bytes_max: 4 * mib,
  control_request_ms: 30 * second_ms,
  control_reconnect_ms_min: 50,
  control_reconnect_ms_max: 2 * second_ms,
  control_requests_open_max: 256,
  api_connections_max: 256,
  agent_request_bytes_max: 16 * kib,
  agent_connections_max: 128,
  /** PAM waits this long for an answer at most, the home's mount included. */
  agent_request_ms: 30 * second_ms,
  ssh_agent_message_bytes_max: 64 * kib,

  rpc_message_bytes_max: 4 * mib,
  rpc_deadline_ms: 10 * second_ms,
  rpc_keepalive_ms: 10 * second_ms,
  rpc_keepalive_timeout_ms: 5 * second_ms,

  credential_ms: 8 * hour_ms,
  /** Certificates are back-dated by this, so that a receiver whose clock is a little behind takes them. */
  backdate_ms: minute_ms,
  clock_skew_ms: minute_ms,
  node_certificate_ms: 30 * day_ms,
  authority_ms: 3650 * day_ms,
  join_token_ms: day_ms,
  /** How long a node may go on with the VO's facts while the registry is away. */
  document_ms: 7 * day_ms,
  /** A proof of a session's key is accepted once, and no longer than this after it was made. */
  proof_ms: 30 * second_ms,
  /** Between a password that was right and the session that it opens. */
  handle_ms: 2 * minute_ms,

  vo_number_max: 4095,
  user_number_max: 65_534,
  members_max: 60_000,
  nodes_max: 10_000,
  sessions_max: 1_000,
  password_bytes_min: 8,
  /** What crypt(3) takes; PAM takes no more either. */
  password_bytes_max: 511,
} as const;

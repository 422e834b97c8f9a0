import type { HeldSession } from './table.ts';
import type { SessionParts } from './parts.ts';

/** Tells the relay of this node about a session, or renews it. Rejects with XOS_UNAVAILABLE while the relay does not run. */
export async function tellRelay(parts: SessionParts, held: HeldSession, signal: AbortSignal): Promise<void> {
  const { session, uid, gid, groups, user, vo, home, origin, expires_ms, own } = held;
  const secret = own === null ? {} : { secret: own.secret };
  await parts.context.native.relay.request('session-add', { session, ...secret, uid, gid, groups, user, vo, home, origin, expires_ms }, { signal, timeout_ms: 5_000 });
}

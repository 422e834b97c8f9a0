import { describe } from '../core/errors.ts';
import type { SessionParts } from './parts.ts';
import { isGranted, type HeldSession } from './table.ts';

/**
 * Ends a session on this node, and on the others when it is one of this node's logins. `kill`: its jobs end too. Resolves when this
 * node is done; the other ones hear of it in the background (and by Sync when they are away now).
 */
export async function endSession(parts: SessionParts, session: string, reason: string, kill: boolean, signal: AbortSignal): Promise<boolean> {
  const held = parts.table.remove(session, reason);
  if (held === null) return false;
  const { native, ports } = parts.context;
  const log = ports.log.child('session');
  log.info('session ended', { session, user: held.user, origin: held.origin, reason, kill });
  // From the keyring too, at once: processes that outlive the session (or a revocation by seconds) still possess the key.
  if (held.own !== null && held.own.credential_key > 0) parts.keys.update(held.own.credential_key, '');
  if (held.own !== null) await parts.sshAgents.close(session).catch(() => {});
  if (isGranted(held)) void parts.spread.closeEverywhere(session, reason, kill, signal);
  await native.relay.request('session-remove', { session, reason, kill }, { signal, timeout_ms: 5_000 }).catch((thrown: unknown) => {
    // A relay that does not run holds no session; when it comes back it gets the sessions that are left.
    if (native.relay.connected) log.warn('the relay did not end the session', { session, reason: describe(thrown) });
  });
  return true;
}

/** Ends everything a user that was revoked has on this node: sessions, jobs, and every process of its uid. */
export async function expel(parts: SessionParts, held: readonly HeldSession[], reason: string, signal: AbortSignal): Promise<void> {
  await Promise.all(held.map((session) => endSession(parts, session.session, reason, true, signal)));
  await endProcesses(parts, [...new Set(held.map((session) => session.uid))], signal);
}

/** Ends every process of the uids. */
export async function endProcesses(parts: SessionParts, uids: readonly number[], signal: AbortSignal): Promise<void> {
  const { processes, clock, log } = parts.context.ports;
  for (const uid of uids) {
    // SIGHUP as a terminal that hangs up would send, then SIGKILL: twice, since a process may fork while we look.
    const kill = async (name: NodeJS.Signals): Promise<number> => {
      const found = await processes.ofUser(uid);
      for (const pid of found) processes.kill(pid, name);
      return found.length;
    };
    let left = await kill('SIGHUP');
    for (let round = 0; left > 0 && round < 5; round++) {
      await clock.sleep(200, signal);
      left = await kill('SIGKILL');
    }
    if (left > 0) log.warn('processes of a revoked member would not end', { uid, left });
  }
}

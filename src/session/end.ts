import { describe } from '../core/errors.ts';
import { second_ms } from '../core/units.ts';
import type { SessionParts } from './parts.ts';
import { isGranted, type HeldSession } from './table.ts';

const round_ms = 200;
/** How long the systemd of a user who is put out has to end in order. */
const manager_ms = 4 * second_ms;
/** How long systemd itself is waited for; it does not wait for what was killed. */
const systemctl_ms = 15 * second_ms;

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
  // All at once: what has a uid to be killed by does not wait for a relay that does not answer.
  const sessions = held.map((session) => endSession(parts, session.session, reason, true, signal));
  await Promise.all([...sessions, endProcesses(parts, [...new Set(held.map((session) => session.uid))], signal)]);
}

/** Ends every process of the uids: at once, but for their own systemd, which has `manager_ms`. */
export async function endProcesses(parts: SessionParts, uids: readonly number[], signal: AbortSignal): Promise<void> {
  const running = new Map<number, readonly number[]>();
  for (const uid of uids) running.set(uid, await parts.context.ports.processes.ofUser(uid));
  await Promise.all([...running].filter(([, found]) => found.length > 0).map(([uid, found]) => endUser(parts, uid, found, signal)));
}

async function endUser(parts: SessionParts, uid: number, found: readonly number[], signal: AbortSignal): Promise<void> {
  const { processes, clock, log, spawn } = parts.context.ports;
  const systemctl = (verb: string): Promise<unknown> =>
    spawn.run('systemctl', ['--no-ask-password', verb, `user@${uid}.service`], { timeout_ms: systemctl_ms, signal })
      .catch((thrown: unknown) => log.warn(`'systemctl ${verb}' failed for a revoked member`, { uid, reason: describe(thrown) }));
  // Killed, it would be a failed unit for `systemctl --failed`; so it is stopped, while all that it started is killed.
  const spared = await ownSystemd(parts, uid, found);
  const stopped = spared.size > 0 ? systemctl('stop') : null;
  const end_ms = clock.monotonic_ms() + (stopped === null ? 0 : manager_ms);
  const kill = (pids: readonly number[], name: NodeJS.Signals): void => {
    for (const pid of pids) if (!spared.has(pid)) processes.kill(pid, name);
  };
  // SIGHUP as a terminal that hangs up would send, then SIGKILL: more than once, since a process may fork while we look.
  kill(found, 'SIGHUP');
  let left = found;
  for (let rounds = 5; left.length > 0 && rounds > 0;) {
    await clock.sleep(round_ms, signal);
    left = await processes.ofUser(uid);
    if (clock.monotonic_ms() >= end_ms) {
      spared.clear();
      rounds--;
    }
    kill(left, 'SIGKILL');
  }
  if (left.length > 0) log.warn('processes of a revoked member would not end', { uid, left: left.length });
  await stopped;
  if (stopped !== null && spared.size === 0) await systemctl('reset-failed');
}

/** Of these processes of a user the own systemd and its helper, which run while the user has logins; none on machines without systemd. */
async function ownSystemd(parts: SessionParts, uid: number, pids: readonly number[]): Promise<Set<number>> {
  const { disk } = parts.context.ports;
  const place = `/user@${uid}.service/init.scope`;
  const groups = await Promise.all(pids.map((pid) => disk.read(`/proc/${pid}/cgroup`).catch(() => null)));
  return new Set(pids.filter((_pid, index) => groups[index]?.toString('latin1').split('\n').some((group) => group.endsWith(place))));
}

import { describe, hasCode } from '../core/errors.ts';
import { minute_ms, second_ms } from '../core/units.ts';
import type { Service } from '../core/service.ts';
import { coalesce } from '../core/signal.ts';
import { SessionsDefinition } from '../proto/xos/session/v1/session.ts';
import { endProcesses, endSession, expel } from './end.ts';
import { closeForeign, openForeign, syncForeign } from './ops/open-foreign.ts';
import { delegate } from './ops/open-by-ssh.ts';
import { renewLogin } from './ops/renew.ts';
import type { SessionParts } from './parts.ts';
import { killsOnLogout } from './policy.ts';
import { tellRelay } from './relay.ts';
import { isGranted } from './table.ts';

const sync_ms = 10 * second_ms;
const sweep_ms = 5 * second_ms;
const renew_check_ms = minute_ms;

/** Keeps sessions as they should be: told to the relay and the other nodes, renewed, ended when their time, user or login is gone. */
export function sessionService(parts: SessionParts): Service {
  const { context, table } = parts;
  const { clock } = context.ports;
  const log = context.ports.log.child('session');
  const stopping = new AbortController();
  const { signal } = stopping;
  const undo: (() => void)[] = [];
  const loops: Promise<void>[] = [];
  const put_out = new Set<number>();

  const every = async (ms: number, work: () => Promise<void>): Promise<void> => {
    while (!signal.aborted) {
      try {
        await clock.sleep(ms, signal);
        await work();
      } catch (thrown) {
        if (!signal.aborted) log.error('looking after sessions failed', { reason: describe(thrown) });
      }
    }
  };

  context.rpc.serve(SessionsDefinition, {
    open: (request, call) => openForeign(parts, request, call),
    close: (request, call) => closeForeign(parts, request, call),
    sync: (request, call) => syncForeign(parts, request, call),
    delegate: (request, call) => delegate(parts, request, call),
  });

  return {
    name: 'session',
    async start() {
      await parts.homes.prepare();
      await table.load(clock.now_ms());
      await parts.sshAgents.prepare();
      for (const held of table.all()) await parts.sshAgents.open(held);
      const failed = (thrown: unknown): void => void (signal.aborted || log.error('sessions could not follow the members', { reason: describe(thrown) }));
      undo.push(context.native.relay.onConnect(coalesce(() => retell(parts, signal), failed)));
      undo.push(context.members.onChange(coalesce(() => followMembers(parts, put_out, signal), failed)));
      // Also a mount that died and came back: the homes that were bound from it are dead until they are bound again.
      const homes = coalesce(() => remount(parts, signal), failed);
      homes();
      undo.push(context.native.mount.onConnect(homes));
      loops.push(every(sweep_ms, () => sweep(parts, signal)), every(sync_ms, () => parts.spread.syncAll(signal)), every(renew_check_ms, () => renewAll(parts, signal)));
    },
    async stop() {
      stopping.abort();
      for (const stop of undo.splice(0)) stop();
      await parts.sshAgents.closeAll();
      await Promise.all(loops);
      await table.settled();
    },
    status: () => ({ up: true, detail: `${table.all().length} sessions` }),
  };
}

/** A relay that (re)started knows nothing. */
async function retell(parts: SessionParts, signal: AbortSignal): Promise<void> {
  for (const held of parts.table.all().filter((each) => each.own === null || isGranted(each))) {
    await tellRelay(parts, held, signal).catch((thrown: unknown) => parts.context.ports.log.child('session').warn('the relay did not take a session', { session: held.session, reason: describe(thrown) }));
  }
}

/** Homes of all sessions, made again where they are gone or dead. */
async function remount(parts: SessionParts, signal: AbortSignal): Promise<void> {
  const owners = new Map(parts.table.all().map((held) => [held.user, held])).values();
  await Promise.all([...owners].map(async (owner) => {
    try {
      await parts.homes.mount(owner, { fill: false }, parts.context.ports.clock.deadline(minute_ms, signal));
    } catch (thrown) {
      if (!signal.aborted) parts.context.ports.log.child('session').warn('a home is not mounted', { user: owner.user, reason: describe(thrown) });
    }
  }));
}

/** Ends what the members document does not allow any more, and brings sessions to nodes that came. */
async function followMembers(parts: SessionParts, put_out: Set<number>, signal: AbortSignal): Promise<void> {
  const { members, table, context } = parts;
  const uids = members.revokedUsers().map(({ uid }) => uid).filter((uid) => !put_out.has(uid));
  const here = members.node(context.node);
  // The credentials first: that takes no time, whatever the ending of sessions waits for.
  if (uids.length > 0) parts.keys.revoke(uids);
  if (here?.state === 'revoked') parts.keys.revoke(members.list().map(({ uid }) => uid));
  const revoked = table.all().filter((held) => members.refuseUser(held.user, held.uid)?.code === 'XOS_REVOKED');
  if (revoked.length > 0) await expel(parts, revoked, 'membership revoked', signal);
  // Also where no session is left: another node may have ended it a moment ago, and what its user left behind goes on.
  for (const uid of uids) put_out.add(uid);
  await endProcesses(parts, uids, signal);
  for (const held of table.all()) {
    const origin = members.node(held.origin);
    if (here?.state === 'revoked') await endSession(parts, held.session, 'this node was revoked', true, signal);
    else if (held.own === null && origin?.state !== 'admitted') await endSession(parts, held.session, `node '${held.origin}' was revoked`, true, signal);
  }
  await parts.spread.syncAll(signal);
}

async function sweep(parts: SessionParts, signal: AbortSignal): Promise<void> {
  const { table, context, homes } = parts;
  const { clock, processes } = context.ports;
  const now_ms = clock.now_ms();
  parts.pending.sweep(now_ms);
  for (const held of table.all()) {
    if (held.expires_ms <= now_ms) await endSession(parts, held.session, 'credential expired', true, signal);
    else if (held.own !== null && held.own.pid_started !== null && held.pid !== undefined && (await processes.startTime(held.pid)) !== held.own.pid_started) {
      // A login that was killed could not say goodbye.
      await endSession(parts, held.session, 'its login process ended', killsOnLogout(parts.policy, parts.members.loginPolicy()), signal);
    }
  }
  const users = new Set(table.all().map((held) => held.user));
  for (const user of await homes.mounted()) {
    const uid = parts.members.get(user)?.uid;
    if (users.has(user) || (uid !== undefined && (await processes.ofUser(uid)).length > 0)) continue;
    await homes.unmountIdle(user).catch((thrown: unknown) => context.ports.log.warn('a home cannot be unmounted', { user, reason: describe(thrown) }));
  }
}

/** At half of a credential's life: there is time for many attempts while the registry is away. */
async function renewAll(parts: SessionParts, signal: AbortSignal): Promise<void> {
  const now_ms = parts.context.ports.clock.now_ms();
  for (const held of parts.table.all().filter(isGranted)) {
    const half_ms = (held.own.credential_expires_ms - held.started_ms) / 2;
    const left_ms = held.own.credential_expires_ms - now_ms;
    if (left_ms > Math.min(half_ms, 4 * 60 * minute_ms)) continue;
    try {
      await renewLogin(parts, held, signal);
    } catch (thrown) {
      parts.context.ports.log.child('session').warn('a credential was not renewed', { session: held.session, user: held.user, left_ms: Math.round(left_ms), reason: describe(thrown) });
      if (hasCode(thrown, 'XOS_REVOKED')) await expel(parts, [held], 'membership revoked', signal);
    }
  }
}

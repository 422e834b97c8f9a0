import { XosError, describe } from '../../core/errors.ts';
import { second_ms } from '../../core/units.ts';
import { keyToPem } from '../../vo/keys.ts';
import { readLocalAccounts, refuseCollision } from '../guard.ts';
import type { SessionParts } from '../parts.ts';
import type { Grant } from '../pending.ts';
import { tellRelay } from '../relay.ts';
import type { HeldSession, OwnSession } from '../table.ts';
import { localUser } from './authenticate.ts';
import { reachedBySsh } from './open-by-ssh.ts';

const offline_home_ms = 3 * second_ms;

export interface OpenLogin {
  readonly handle: string;
  /** What sshd says about how the user proved herself (SSH_AUTH_INFO_0, sshd_config(5)); empty when there was no such thing. */
  readonly ssh: string;
  readonly user: string;
  readonly tty: string;
  readonly pid: number;
  /** Id of the key in the session's keyring that is to hold the credential; 0 for none. */
  readonly credential_key: number;
}

/**
 * `op=open`: makes the session of a login. When it resolves the home is mounted, and the other nodes know the session or soon will. A
 * login without the VO's word (offline) has no credential: its programs stay on this node, which the relay's not knowing it brings about.
 */
export async function openLogin(parts: SessionParts, request: OpenLogin, signal: AbortSignal): Promise<OwnSession> {
  const { context, homes, members, table, spread } = parts;
  const log = context.ports.log.child('session');
  const { user } = localUser(parts, request.user);
  const { grant, offline_until_ms } = await rightOf(parts, request, user, signal);
  const uid = grant?.credential.claims.uid ?? members.get(user)?.uid ?? 0;
  const refused = members.refuseUser(user, uid);
  if (refused !== null) throw refused;
  refuseCollision(parts, await readLocalAccounts(parts), user, uid);
  try {
    // PAM does not wait for ever, and a home whose servers are away may not answer.
    await homes.mount({ user, uid, gid: uid }, { fill: grant !== null }, grant === null ? context.ports.clock.deadline(offline_home_ms, signal) : signal);
  } catch (thrown) {
    if (grant !== null) throw thrown;
    log.warn('a login without the VO has no home', { user, reason: describe(thrown) }); // login(1) then begins in '/'
  }
  const held = await heldOf(parts, request, { user, uid }, grant, offline_until_ms);
  await table.put(held);
  log.info('session opened', { session: held.session, user, tty: request.tty, pid: request.pid, offline: grant === null });
  if (grant === null) return held;
  await parts.sshAgents.open(held);
  // Without its relay the node is a plain Linux: the login goes on, and the relay gets the session when it comes.
  await tellRelay(parts, held, signal).catch((thrown: unknown) => log.warn('the relay does not know the session yet', { session: held.session, reason: describe(thrown) }));
  await spread.openEverywhere(held, signal);
  return held;
}

/** What gives the right to a session; each good for one. */
async function rightOf(parts: SessionParts, request: OpenLogin, user: string, signal: AbortSignal): Promise<{ readonly grant: Grant | null; readonly offline_until_ms: number }> {
  const login = parts.pending.take(request.handle, parts.context.ports.clock.now_ms());
  if (login !== null && login.user === user) {
    if (login.by.kind === 'grant') return { grant: login.by.grant, offline_until_ms: 0 };
    if (login.by.kind === 'offline') return { grant: null, offline_until_ms: login.by.until_ms };
    throw new XosError('XOS_NO_LOGIN', `the password of '${request.user}' must be changed before it opens a session`, { user });
  }
  if (request.ssh !== '') return { grant: await reachedBySsh(parts, user, request.ssh, signal), offline_until_ms: 0 };
  throw new XosError('XOS_NO_LOGIN', `there is no login of '${request.user}' to open a session for: the password was not asked for here, or too long ago`, { user });
}

async function heldOf(parts: SessionParts, request: OpenLogin, { user, uid }: { user: string; uid: number }, grant: Grant | null, offline_until_ms: number): Promise<OwnSession> {
  const { context, homes, members } = parts;
  const { clock, processes, random } = context.ports;
  const expires_ms = grant?.credential.expires_ms ?? offline_until_ms;
  const own: NonNullable<HeldSession['own']> = {
    credential: grant?.pem ?? '',
    key: grant === null ? '' : keyToPem(grant.key),
    ssh: grant?.ssh.toString('base64') ?? '',
    secret: random.bytes(16).toString('hex'),
    credential_expires_ms: expires_ms,
    credential_key: request.credential_key,
    pid_started: request.pid > 0 ? await processes.startTime(request.pid) : null,
  };
  const { groups, roles } = grant?.credential.claims ?? members.get(user)!;
  const session = grant?.credential.claims.session ?? random.bytes(16).toString('hex');
  return {
    session, user, vo: context.vo, uid, gid: uid, groups, roles: grant === null ? [] : roles,
    origin: context.node, home: homes.path(user), expires_ms, started_ms: clock.now_ms(), tty: request.tty, pid: request.pid, own,
  };
}

import { XosError, describe } from '../../core/errors.ts';
import { keyToPem } from '../../vo/keys.ts';
import type { SessionParts } from '../parts.ts';
import { tellRelay } from '../relay.ts';
import type { HeldSession } from '../table.ts';
import { localUser } from './authenticate.ts';

export interface OpenLogin {
  readonly handle: string;
  readonly user: string;
  readonly tty: string;
  readonly pid: number;
  /** Id of the key in the session's keyring that is to hold the credential; 0 for none. */
  readonly credential_key: number;
}

/** `op=open`: makes the session of a login. When it resolves the home is mounted, and the other nodes know the session or soon will. */
export async function openLogin(parts: SessionParts, request: OpenLogin, signal: AbortSignal): Promise<HeldSession & { readonly own: NonNullable<HeldSession['own']> }> {
  const { context, homes, table, spread } = parts;
  const { clock, processes, random } = context.ports;
  const log = context.ports.log.child('session');
  const { user } = localUser(parts, request.user);
  const login = parts.pending.take(request.handle, clock.now_ms());
  if (login === null || login.user !== user) throw new XosError('XOS_NO_LOGIN', `there is no login of '${request.user}' to open a session for: the password was not asked for here, or too long ago`, { user });
  const { claims, expires_ms } = login.credential;
  const refused = parts.members.refuseUser(user, claims.uid);
  if (refused !== null) throw refused;
  await homes.mount({ user, uid: claims.uid, gid: claims.uid }, { fill: true }, signal);
  const own = {
    credential: login.pem,
    key: keyToPem(login.key),
    secret: random.bytes(16).toString('hex'),
    credential_expires_ms: expires_ms,
    credential_key: request.credential_key,
    pid_started: request.pid > 0 ? await processes.startTime(request.pid) : null,
  };
  const held = {
    session: claims.session, user, vo: context.vo, uid: claims.uid, gid: claims.uid, groups: claims.groups, roles: claims.roles,
    origin: context.node, home: homes.path(user), expires_ms, started_ms: clock.now_ms(), tty: request.tty, pid: request.pid, own,
  };
  await table.put(held);
  log.info('session opened', { session: held.session, user, tty: request.tty, pid: request.pid });
  // Without its relay the node is a plain Linux: the login goes on, and the relay gets the session when it comes.
  await tellRelay(parts, held, signal).catch((thrown: unknown) => log.warn('the relay does not know the session yet', { session: held.session, reason: describe(thrown) }));
  await spread.openEverywhere(held, signal);
  return held;
}

import { XosError, describe, hasCode } from '../../core/errors.ts';
import { parseQualifiedUser } from '../../core/ids.ts';
import { second_ms } from '../../core/units.ts';
import { CredentialsDefinition } from '../../proto/xos/credential/v1/credential.ts';
import { verifyCredential } from '../../vo/credential.ts';
import { requestFor } from '../../vo/identity.ts';
import { newKey } from '../../vo/keys.ts';
import { admitTry, countFailure, forgive, readLocalAccounts, refuseCollision } from '../guard.ts';
import type { SessionParts } from '../parts.ts';
import type { Grant, PendingLogin } from '../pending.ts';

export interface AuthRequest {
  readonly user: string;
  readonly password: string;
  readonly service: string;
  readonly tty: string;
  readonly rhost: string;
}

export interface Account {
  readonly user: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
  readonly shell: string;
}

/** A CDA that does not answer this fast is away: PAM waits 15 s in all, and the verifier of this node may have to be asked. */
const cda_ms = 8 * second_ms;
/** The same when nothing was heard from the registry lately. */
const cda_away_ms = 2 * second_ms;

const counted = ['XOS_WRONG_PASSWORD', 'XOS_NO_MEMBER', 'XOS_VO_UNKNOWN', 'XOS_BAD_NAME'] as const;
const away = ['XOS_UNREACHABLE', 'XOS_TIMEOUT', 'XOS_ABORTED', 'XOS_RPC'] as const;

/**
 * `op=auth`: asks the CDA. The key is born here; what it gives waits, under a handle, for the session that PAM opens next. Wrong
 * passwords are counted here too, before anything leaves the node; a refusal carries data.delay_ms, how long to take over it.
 */
export async function authenticate(parts: SessionParts, request: AuthRequest, signal: AbortSignal): Promise<Account & { readonly handle: string; readonly change?: 1 }> {
  const { clock, random } = parts.context.ports;
  admitTry(parts, request);
  // While the password is compared.
  const accounts = readLocalAccounts(parts);
  accounts.catch(() => {});
  let by: PendingLogin['by'];
  let user: string;
  try {
    ({ user } = localUser(parts, request.user));
    by = await decide(parts, user, request, signal);
  } catch (thrown) {
    if (!hasCode(thrown, ...counted)) throw thrown;
    const { code, message, data } = thrown as XosError;
    throw new XosError(code, message, { ...data, delay_ms: countFailure(parts, request) }, { cause: thrown });
  }
  forgive(parts, request);
  const uid = by.kind === 'grant' ? by.grant.credential.claims.uid : (parts.members.get(user)?.uid ?? 0);
  admit(parts, user);
  refuseCollision(parts, await accounts, user, uid);
  const handle = random.bytes(16).toString('hex');
  parts.pending.put({ handle, user, by }, clock.now_ms());
  return { ...accountOf(parts, user, uid), handle, ...(by.kind === 'change' ? { change: 1 as const } : {}) };
}

async function decide(parts: SessionParts, user: string, request: AuthRequest, signal: AbortSignal): Promise<PendingLogin['by']> {
  const { log } = parts.context.ports;
  try {
    const grant = await askCda(parts, user, request, signal);
    if (grant === null) return { kind: 'change' };
    // Not waited for: it costs as much as the CDA's own check. Lost with a crash, and made at the next login.
    void parts.offline.confirm(user, grant.credential.claims.uid, request.password).catch((thrown: unknown) => log.warn('a login cannot be kept for when the VO is away', { user, reason: describe(thrown) }));
    return { kind: 'grant', grant };
  } catch (thrown) {
    if (hasCode(thrown, 'XOS_REVOKED', 'XOS_NO_MEMBER')) await parts.offline.forget(user).catch(() => {});
    if (!hasCode(thrown, ...away)) throw thrown;
    return await decideOffline(parts, user, request, thrown as XosError);
  }
}

/** null: the password is right and must be changed first. */
export async function askCda(parts: SessionParts, user: string, request: AuthRequest, signal: AbortSignal): Promise<Grant | null> {
  const { context, members, trust } = parts;
  const { clock, random } = context.ports;
  const session = random.bytes(16).toString('hex');
  const key = newKey();
  const cda = context.rpc.client(members.registryNode(), CredentialsDefinition);
  const { password, service, tty, rhost } = request;
  const deadline_ms = members.connected() || members.registryNode() === context.node ? cda_ms : cda_away_ms;
  const answer = await cda.issue({ user, password, csr: requestFor(key, user), session, service, tty, rhost }, { deadline_ms, signal });
  if (answer.change) return null;
  const pem = answer.credential;
  const credential = verifyCredential(pem, trust, clock.now_ms());
  if (credential.claims.user !== user || credential.claims.session !== session) throw new XosError('XOS_CREDENTIAL', `the CDA issued a credential for '${credential.claims.user}' where '${user}' asked`);
  return { credential, pem, ssh: Buffer.from(answer.ssh_certificate ?? []), key };
}

/** The VO and the site both say how long; the shorter time counts. Revoked members never: this node's own list says who they are. */
async function decideOffline(parts: SessionParts, user: string, request: AuthRequest, cause: XosError): Promise<PendingLogin['by']> {
  const { members, offline, policy, context } = parts;
  const member = members.get(user);
  const refused = member === null ? new XosError('XOS_NO_MEMBER', `VO '${context.vo}' has no member '${user}'`, { user }) : members.refuseUser(user, member.uid);
  if (refused !== null) throw refused;
  const hours = Math.min(members.loginPolicy().offline_hours_max, policy.offline_hours_max);
  try {
    const { until_ms } = await offline.check(user, member!.uid, request.password, hours, () => admitTry(parts, request));
    context.ports.log.warn('login without the VO, on this node only', { user, until: new Date(until_ms).toISOString(), reason: cause.message });
    return { kind: 'offline', until_ms };
  } catch (thrown) {
    // Not allowed offline is, to the user, the grid that cannot be reached.
    if (hasCode(thrown, 'XOS_OFFLINE')) throw new XosError('XOS_UNAVAILABLE', (thrown as XosError).message, {}, { cause });
    throw thrown;
  }
}

/** `op=account`: may this member be here now? With a handle: and is her password still good? */
export async function checkAccount(parts: SessionParts, name: string, handle: string): Promise<Account & { readonly change?: 1 }> {
  const { user } = localUser(parts, name);
  const member = parts.members.get(user);
  if (member === null) throw parts.members.usable() ?? new XosError('XOS_NO_MEMBER', `VO '${parts.context.vo}' has no member '${user}'`, { user });
  const refused = parts.members.refuseUser(user, member.uid);
  if (refused !== null) throw refused;
  admit(parts, user);
  refuseCollision(parts, await readLocalAccounts(parts), user, member.uid);
  const login = parts.pending.peek(handle, parts.context.ports.clock.now_ms());
  return { ...accountOf(parts, user, member.uid), ...(login?.user === user && login.by.kind === 'change' ? { change: 1 as const } : {}) };
}

function accountOf(parts: SessionParts, user: string, uid: number): Account {
  return { user: `${user}@${parts.context.vo}`, uid, gid: uid, home: parts.homes.path(user), shell: '/bin/bash' };
}

/** The user's name if it is of this node's VO; throws XOS_VO_UNKNOWN otherwise. */
export function localUser(parts: SessionParts, name: string): { readonly user: string } {
  const { user, vo } = parseQualifiedUser(name);
  if (vo !== parts.context.vo) throw new XosError('XOS_VO_UNKNOWN', `this node is not of VO '${vo}', but of '${parts.context.vo}'`, { vo });
  return { user };
}

function admit(parts: SessionParts, user: string): void {
  if (parts.policy.deny.includes(user)) throw new XosError('XOS_SITE_POLICY', `the policy of this node lets '${user}' not in`, { user });
}

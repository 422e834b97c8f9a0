import { XosError } from '../../core/errors.ts';
import { parseQualifiedUser } from '../../core/ids.ts';
import { CredentialsDefinition } from '../../proto/xos/credential/v1/credential.ts';
import { verifyCredential } from '../../vo/credential.ts';
import { requestFor } from '../../vo/identity.ts';
import { newKey } from '../../vo/keys.ts';
import type { SessionParts } from '../parts.ts';

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

/** `op=auth`: asks the CDA. The key is born here; the credential waits, under a handle, for the session that PAM opens next. */
export async function authenticate(parts: SessionParts, request: AuthRequest, signal: AbortSignal): Promise<Account & { readonly handle: string }> {
  const { context, members, trust } = parts;
  const { clock, random } = context.ports;
  const { user } = localUser(parts, request.user);
  const session = random.bytes(16).toString('hex');
  const key = await newKey();
  const cda = context.rpc.client(members.registryNode(), CredentialsDefinition);
  const { password, service, tty, rhost } = request;
  const { credential: pem } = await cda.issue({ user, password, csr: requestFor(key, user), session, service, tty, rhost }, { signal });
  const credential = verifyCredential(pem, trust, clock.now_ms());
  if (credential.claims.user !== user || credential.claims.session !== session) throw new XosError('XOS_CREDENTIAL', `the CDA issued a credential for '${credential.claims.user}' where '${user}' asked`);
  admit(parts, user);
  const handle = random.bytes(16).toString('hex');
  parts.pending.put({ handle, user, credential, pem, key }, clock.now_ms());
  return { ...accountOf(parts, user, credential.claims.uid), handle };
}

/** `op=account`: may this member be here now? */
export function checkAccount(parts: SessionParts, name: string): Account {
  const { user } = localUser(parts, name);
  const member = parts.members.get(user);
  if (member === null) throw parts.members.usable() ?? new XosError('XOS_NO_MEMBER', `VO '${parts.context.vo}' has no member '${user}'`, { user });
  const refused = parts.members.refuseUser(user, member.uid);
  if (refused !== null) throw refused;
  admit(parts, user);
  return accountOf(parts, user, member.uid);
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

import { XosError } from '../../core/errors.ts';
import { parseSessionId, parseUserName } from '../../core/ids.ts';
import { limits } from '../../core/limits.ts';
import type { RpcCall } from '../../core/rpc.ts';
import { groupsOf } from '../../account/uid.ts';
import type { IssueRequest, IssueResponse } from '../../proto/xos/credential/v1/credential.ts';
import { checkPassword } from '../password.ts';
import type { Registry } from '../registry.ts';
import type { MemberEntry, VoState } from '../state.ts';

/**
 * Credentials.Issue: name and password for a credential. Errors: XOS_LOCKED (too many failures; says until when), XOS_NO_MEMBER,
 * XOS_WRONG_PASSWORD, XOS_REVOKED. The calling node is admitted and trusted to know them apart; the user sees one polite line.
 */
export async function issueCredential(registry: Registry, request: IssueRequest, call: RpcCall): Promise<IssueResponse> {
  const { clock, log } = registry.ports;
  const vo = registry.require();
  const user = parseUserName(request.user);
  const session = parseSessionId(request.session);
  const member = Object.hasOwn(vo.members, user) ? vo.members[user]! : null;
  const facts = { user: `${user}@${vo.vo}`, node: call.peer?.node, service: request.service, tty: request.tty, rhost: request.rhost };

  const locked_ms = (member?.locked_until_ms ?? 0) - clock.now_ms();
  if (locked_ms > 0) {
    log.warn('login refused: locked', facts);
    throw new XosError('XOS_LOCKED', `'${user}@${vo.vo}' is locked for ${Math.ceil(locked_ms / 1000)} s after too many wrong passwords`, { user, retry_after_ms: Math.ceil(locked_ms) });
  }
  const right = await checkPassword(request.password, member?.verifier ?? null);
  if (member === null) {
    log.warn('login refused: no such member', facts);
    throw new XosError('XOS_NO_MEMBER', `VO '${vo.vo}' has no member '${user}'`, { user });
  }
  if (!right) {
    await registry.propose({ kind: 'login-failed', user, at_ms: clock.now_ms() });
    log.warn('login refused: wrong password', { ...facts, failures: registry.require().members[user]?.failures });
    throw new XosError('XOS_WRONG_PASSWORD', `wrong password for '${user}@${vo.vo}'`, { user });
  }
  if (member.state === 'revoked') {
    log.warn('login refused: revoked', facts);
    throw new XosError('XOS_REVOKED', `member '${user}@${vo.vo}' is revoked`, { user });
  }
  if (member.failures > 0) await registry.propose({ kind: 'login-succeeded', user });
  call.signal.throwIfAborted();
  const answer = await credentialFor(registry, vo, member, session, request.csr);
  log.info('credential issued', facts);
  return answer;
}

/** A credential of 8 hours for the key of the request. */
export async function credentialFor(registry: Registry, vo: VoState, member: MemberEntry, session: string, csr: Uint8Array): Promise<IssueResponse> {
  const { issueCredential: issue, keyOfRequest, newSerial } = await import('../authority.ts');
  const publicKey = await keyOfRequest(csr);
  const now_ms = registry.ports.clock.now_ms();
  const expires_ms = now_ms + limits.credential_ms;
  const claims = { vo: vo.vo, number: vo.number, user: member.user, uid: member.uid, groups: groupsOf(vo.number, member.uid), roles: member.roles, session };
  const credential = await issue({ claims, publicKey, serial: newSerial(registry.ports.random), now_ms, expires_ms, issuer: registry.userIssuer() });
  return { credential, expires_ms };
}

import { parseSessionId, parseUserName } from '../../core/ids.ts';
import { limits } from '../../core/limits.ts';
import type { RpcCall } from '../../core/rpc.ts';
import { groupsOf } from '../../account/uid.ts';
import type { IssueRequest, IssueResponse } from '../../proto/xos/credential/v1/credential.ts';
import { keyOfRequest } from '../keys.ts';
import { newSerial, writeCredential } from '../leaf.ts';
import { passwordExpired, policyOf } from '../login-policy.ts';
import type { Registry } from '../registry.ts';
import { issueSshCertificate, sshUserKeyId } from '../ssh.ts';
import type { MemberEntry, VoState } from '../state.ts';
import { tryPassword } from './password-try.ts';

/**
 * Credentials.Issue: name and password for a credential, or for the word that the password must be changed first. Errors: XOS_LOCKED,
 * XOS_NO_MEMBER, XOS_WRONG_PASSWORD, XOS_REVOKED. The calling node is admitted and trusted to know them apart; the user sees one polite
 * line.
 */
export async function issueCredential(registry: Registry, request: IssueRequest, call: RpcCall): Promise<IssueResponse> {
  const { clock, log } = registry.ports;
  const vo = registry.require();
  const user = parseUserName(request.user);
  const session = parseSessionId(request.session);
  const { password, rhost } = request;
  const facts = { user: `${user}@${vo.vo}`, node: call.peer?.node, service: request.service, tty: request.tty, rhost };
  let member: MemberEntry;
  let making = null as Promise<IssueResponse> | null;
  // Made while the password is compared, which has begun on another thread by then. Nobody gets it unless the password is right.
  const make = (of: MemberEntry): void => {
    making = Promise.resolve().then(() => credentialFor(registry, vo, of, { session, node: call.peer!.node }, request.csr));
    making.catch(() => {});
  };
  try {
    member = await tryPassword(registry, { user, password, node: call.peer?.node ?? '', rhost }, make);
  } catch (thrown) {
    log.warn('login refused', { ...facts, reason: (thrown as Error).message });
    throw thrown;
  }
  call.signal.throwIfAborted();
  if (member.change === true || passwordExpired(policyOf(vo.login_policy), member.password_ms ?? member.added_ms, clock.now_ms())) {
    log.info('the password must be changed first', facts);
    return { credential: '', expires_ms: 0, change: true, ssh_certificate: Buffer.alloc(0) };
  }
  const answer = await making!;
  log.info('credential issued', facts);
  return answer;
}

/** A credential of 8 hours for the key of the request, which is on `at.node`, and an OpenSSH certificate for the same key. */
export function credentialFor(registry: Registry, vo: VoState, member: MemberEntry, at: { readonly session: string; readonly node: string }, csr: Uint8Array): IssueResponse {
  const publicKey = keyOfRequest(csr);
  const now_ms = registry.ports.clock.now_ms();
  const expires_ms = now_ms + limits.credential_ms;
  const claims = { vo: vo.vo, number: vo.number, user: member.user, uid: member.uid, groups: groupsOf(vo.number, member.uid), roles: member.roles, session: at.session };
  const serial = newSerial(registry.ports.random);
  const issuer = registry.userIssuer();
  const credential = writeCredential({ claims, publicKey, serial, now_ms, expires_ms, issuer });
  const ssh_certificate = issueSshCertificate({
    kind: 'user', publicKey, serial, nonce: registry.ports.random.bytes(32), key_id: sshUserKeyId(vo.vo, member.user, member.uid),
    principals: [`${member.user}@${vo.vo}`], not_before_ms: now_ms - limits.backdate_ms, expires_ms, session: `${at.session} ${at.node}`, authority: issuer.key,
  });
  return { credential, expires_ms, change: false, ssh_certificate };
}

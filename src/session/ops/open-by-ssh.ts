import { XosError } from '../../core/errors.ts';
import { parseNodeId, parseSessionId } from '../../core/ids.ts';
import type { RpcCall } from '../../core/rpc.ts';
import { CredentialsDefinition } from '../../proto/xos/credential/v1/credential.ts';
import { SessionsDefinition, type DelegateRequest, type DelegateResponse } from '../../proto/xos/session/v1/session.ts';
import { verifyCredential } from '../../vo/credential.ts';
import { requestFor } from '../../vo/identity.ts';
import { newKey } from '../../vo/keys.ts';
import { delegateProofBytes } from '../../vo/proof.ts';
import { ssh_certificate_type, sshAuthorityBlob, sshUserKeyId, verifySshCertificate } from '../../vo/ssh.ts';
import type { SessionParts } from '../parts.ts';
import type { Grant } from '../pending.ts';
import { prove } from '../sign.ts';

/**
 * A user came by ssh with the certificate of a session elsewhere: sshd has checked that she has its key, this checks the certificate
 * again and asks the session's origin, which has just signed for her (ssh/agents.ts), for a credential of a session here. Throws XOS_SSH,
 * XOS_NOT_REACHED (the origin knows nothing of it), XOS_REVOKED, XOS_UNREACHABLE.
 */
export async function reachedBySsh(parts: SessionParts, user: string, said: string, signal: AbortSignal): Promise<Grant> {
  const { context, trust, members } = parts;
  const { clock, random } = context.ports;
  const blob = said.split('\n').map((line) => line.split(' ')).find(([method, type]) => method === 'publickey' && type === ssh_certificate_type)?.[2];
  if (blob === undefined) throw new XosError('XOS_NO_LOGIN', `'${user}' came to sshd without a certificate of this VO`, { user });
  const certificate = verifySshCertificate(Buffer.from(blob, 'base64'), { kind: 'user', authority: sshAuthorityBlob(trust.user_ca), principal: `${user}@${context.vo}` }, clock.now_ms());
  const member = members.get(user);
  const refused = member === null ? new XosError('XOS_REVOKED', `member '${user}' is not one any more`, { user }) : members.refuseUser(user, member.uid);
  if (refused !== null) throw refused;
  // A name that was given again is another user: the certificate of the earlier one is void.
  if (certificate.key_id !== sshUserKeyId(context.vo, user, member!.uid)) throw new XosError('XOS_REVOKED', `the ssh certificate is of an earlier '${user}'`, { user });
  const [from = '', origin = ''] = (certificate.session ?? '').split(' ');
  const key = newKey();
  const target_session = random.bytes(16).toString('hex');
  const asked = { session: parseSessionId(from), target_session, csr: requestFor(key, user) };
  const { credential: pem, ssh_certificate } = await context.rpc.client(parseNodeId(origin), SessionsDefinition).delegate(asked, { signal });
  const credential = verifyCredential(pem, trust, clock.now_ms());
  if (credential.claims.user !== user || credential.claims.session !== target_session) throw new XosError('XOS_CREDENTIAL', `node '${origin}' gave a credential of '${credential.claims.user}' where '${user}' came`);
  return { credential, pem, ssh: Buffer.from(ssh_certificate), key };
}

/**
 * Sessions.Delegate, on the origin: for a node that the session's user has reached by ssh in the last minute, once for each time. A node
 * that she did not go to gets nothing, whatever certificates it has seen.
 */
export async function delegate(parts: SessionParts, request: DelegateRequest, call: RpcCall): Promise<DelegateResponse> {
  const { context, members, table } = parts;
  const session = parseSessionId(request.session);
  const target = call.peer!.node;
  const held = table.held(session);
  if (held?.own == null || held.own.credential === '' || !parts.sshAgents.takeVisit(session, target, context.ports.clock.now_ms())) {
    context.ports.log.child('session').warn('a node asked for a credential of a user who did not go there', { session, node: target });
    throw new XosError('XOS_NOT_REACHED', `session '${session}' has not gone to node '${target}' by ssh`, { session, node: target });
  }
  const { csr, target_session } = request;
  const statement = { vo: context.vo, session, origin: context.node, target, target_session, csr };
  const proof = prove(held, context.ports, (moment) => delegateProofBytes({ ...statement, ...moment }));
  const cda = context.rpc.client(members.registryNode(), CredentialsDefinition);
  const { credential, ssh_certificate } = await cda.delegate({ credential: held.own.credential, csr, session: target_session, target, ...proof }, { signal: call.signal });
  return { credential, ssh_certificate };
}

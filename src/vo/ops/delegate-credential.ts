import { XosError } from '../../core/errors.ts';
import { parseNodeId, parseSessionId } from '../../core/ids.ts';
import type { RpcCall } from '../../core/rpc.ts';
import type { DelegateRequest, IssueResponse } from '../../proto/xos/credential/v1/credential.ts';
import { verifyCredential } from '../credential.ts';
import { delegateProofBytes, type ProofGate } from '../proof.ts';
import type { Registry } from '../registry.ts';
import { credentialFor } from './issue-credential.ts';

/**
 * Credentials.Delegate: a credential for a session of the same member at another node, by a proof of the key of the session that the
 * member came from. Throws XOS_PROOF, XOS_REPLAY, XOS_REVOKED, XOS_NOT_ADMITTED (of the target).
 */
export async function delegateCredential(registry: Registry, gate: ProofGate, request: DelegateRequest, call: RpcCall): Promise<IssueResponse> {
  const now_ms = registry.ports.clock.now_ms();
  const vo = registry.require();
  const { claims, publicKey } = verifyCredential(request.credential, registry.trust(), now_ms);
  const { csr, issued_ms, nonce } = request;
  const [target, target_session] = [parseNodeId(request.target), parseSessionId(request.session)];
  const bytes = delegateProofBytes({ vo: vo.vo, session: claims.session, origin: call.peer!.node, target, target_session, csr, issued_ms, nonce });
  await gate.check(publicKey, bytes, request.signature, { issued_ms, nonce }, now_ms);
  const refused = registry.refuseNode({ vo: vo.vo, node: target });
  if (refused !== null) throw refused;
  const member = Object.hasOwn(vo.members, claims.user) ? vo.members[claims.user]! : null;
  if (member === null || member.uid !== claims.uid || member.state === 'revoked') throw new XosError('XOS_REVOKED', `member '${claims.user}@${vo.vo}' is revoked`, { user: claims.user });
  registry.ports.log.info('credential delegated', { user: `${claims.user}@${vo.vo}`, from: call.peer!.node, to: target });
  return credentialFor(registry, vo, member, { session: target_session, node: target }, csr);
}

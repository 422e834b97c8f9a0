import { XosError } from '../../core/errors.ts';
import type { RpcCall } from '../../core/rpc.ts';
import type { IssueResponse, RenewRequest } from '../../proto/xos/credential/v1/credential.ts';
import { verifyCredential } from '../credential.ts';
import { renewProofBytes, type ProofGate } from '../proof.ts';
import type { Registry } from '../registry.ts';
import { credentialFor } from './issue-credential.ts';

/** Credentials.Renew: a new credential of the same session for one that is still valid, by a proof of its key. */
export async function renewCredential(registry: Registry, gate: ProofGate, request: RenewRequest, call: RpcCall): Promise<IssueResponse> {
  const now_ms = registry.ports.clock.now_ms();
  const vo = registry.require();
  const { claims, publicKey } = verifyCredential(request.credential, registry.trust(), now_ms);
  const { csr, issued_ms, nonce } = request;
  await gate.check(publicKey, renewProofBytes({ vo: vo.vo, session: claims.session, origin: call.peer!.node, csr, issued_ms, nonce }), request.signature, { issued_ms, nonce }, now_ms);
  const member = Object.hasOwn(vo.members, claims.user) ? vo.members[claims.user]! : null;
  if (member === null || member.uid !== claims.uid || member.state === 'revoked') throw new XosError('XOS_REVOKED', `member '${claims.user}@${vo.vo}' is revoked`, { user: claims.user });
  return credentialFor(registry, vo, member, { session: claims.session, node: call.peer!.node }, csr);
}

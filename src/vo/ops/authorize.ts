import { XosError } from '../../core/errors.ts';
import type { RpcCall } from '../../core/rpc.ts';
import type { AdminRequest, AdminResponse } from '../../proto/xos/registry/v1/registry.ts';
import { verifyCredential } from '../credential.ts';
import { adminProofBytes, type ProofGate } from '../proof.ts';
import type { Registry } from '../registry.ts';
import { administer, type AdminCaller, type AdminOperation } from './administer.ts';

/** Registry.Admin: an operation for a user of another node. Whether it is an admin is decided by the registry's state, not by what the credential said when it was issued. */
export async function administerFor(registry: Registry, gate: ProofGate, request: AdminRequest, call: RpcCall): Promise<AdminResponse> {
  const caller = await callerOf(registry, gate, request, call);
  let parsed: unknown;
  try {
    parsed = JSON.parse(Buffer.from(request.request).toString('utf8'));
  } catch (cause) {
    throw new XosError('XOS_BAD_ARGUMENT', 'the request is not JSON', {}, { cause });
  }
  if (typeof parsed !== 'object' || parsed === null) throw new XosError('XOS_BAD_ARGUMENT', 'the request is not an object');
  const response = await administer(registry, request.operation as AdminOperation, parsed as never, caller);
  return { response: Buffer.from(JSON.stringify(response)) };
}

async function callerOf(registry: Registry, gate: ProofGate, request: AdminRequest, call: RpcCall): Promise<AdminCaller> {
  const { authorization } = request;
  // An admitted node asks for itself: it may see what its documents say anyway.
  if (authorization === undefined) return { user: null, admin: false, node: call.peer!.node };
  const vo = registry.require();
  const now_ms = registry.ports.clock.now_ms();
  const { claims, publicKey } = verifyCredential(authorization.credential, registry.trust(), now_ms);
  const { issued_ms, nonce } = authorization;
  const bytes = adminProofBytes({ vo: vo.vo, origin: call.peer!.node, operation: request.operation, request: request.request, issued_ms, nonce });
  await gate.check(publicKey, bytes, authorization.signature, { issued_ms, nonce }, now_ms);
  const member = Object.hasOwn(vo.members, claims.user) ? vo.members[claims.user]! : null;
  if (member === null || member.uid !== claims.uid || member.state === 'revoked') throw new XosError('XOS_REVOKED', `member '${claims.user}@${vo.vo}' is revoked`, { user: claims.user });
  return { user: member.user, admin: member.roles.includes('admin'), node: call.peer!.node };
}

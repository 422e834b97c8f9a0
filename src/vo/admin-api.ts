import type { ApiCaller, ApiRegistry } from '../api/registry.ts';
import { XosError } from '../core/errors.ts';
import type { Clock, Random } from '../core/ports.ts';
import type { Rpc } from '../core/rpc.ts';
import { RegistryDefinition, type Authorization } from '../proto/xos/registry/v1/registry.ts';
import { admin_operations, administer, type AdminOperation } from './ops/administer.ts';
import { adminProofBytes } from './proof.ts';
import type { Registry } from './registry.ts';

export interface AdminApiOptions {
  readonly vo: string;
  readonly node: string;
  readonly api: ApiRegistry;
  readonly rpc: Rpc;
  readonly clock: Clock;
  readonly random: Random;
  /** On the registry's node; null elsewhere. */
  readonly registry: Registry | null;
  readonly registryNode: () => string;
  /** Signs with the key of a session that the uid has from a login on this node; null when it has none. */
  readonly signFor: (uid: number, statement: (moment: { issued_ms: number; nonce: Buffer }) => Uint8Array) => { credential: string; issued_ms: number; nonce: Buffer; signature: Buffer } | null;
}

/** Puts the operations on the VO on this node's xosd.sock; returns the way to take them away. */
export function registerAdminOperations(options: AdminApiOptions): () => void {
  const undo = admin_operations.map((operation) =>
    options.api.register(operation, (caller: ApiCaller, request: object, signal: AbortSignal) => run(options, operation, caller, request, signal) as Promise<never>));
  return () => undo.forEach((stop) => stop());
}

async function run(options: AdminApiOptions, operation: AdminOperation, caller: ApiCaller, request: object, signal: AbortSignal): Promise<object> {
  // Here the kernel says who calls, so no proof is needed. Whether a member is an admin is the registry's state to tell.
  if (options.registry !== null) {
    const member = caller.user === null ? undefined : options.registry.require().members[caller.user];
    const user = caller.uid === 0 ? null : member?.state === 'active' ? member.user : '';
    if (user === '') throw new XosError('XOS_DENIED', `'${operation}' is for members of VO '${options.vo}'`, { operation });
    return await administer(options.registry, operation, request as never, { user, admin: caller.uid === 0 || member?.roles.includes('admin') === true, node: options.node });
  }
  const bytes = Buffer.from(JSON.stringify(request));
  const authorization: Authorization | undefined = options.signFor(caller.uid, (moment) => adminProofBytes({ vo: options.vo, origin: options.node, operation, request: bytes, ...moment })) ?? undefined;
  if (authorization === undefined && caller.uid !== 0) {
    throw new XosError('XOS_DENIED', `'${operation}' needs a session that you logged in to on this node '${options.node}'; run it where you logged in`, { operation });
  }
  const answer = await options.rpc.client(options.registryNode(), RegistryDefinition).admin({ operation, request: bytes, authorization }, { signal });
  return JSON.parse(Buffer.from(answer.response).toString('utf8')) as object;
}

import { createHash } from 'node:crypto';
import { XosError, describe } from '../../core/errors.ts';
import { parseNodeId } from '../../core/ids.ts';
import { node_roles, type NodeRole } from '../../core/model.ts';
import type { JoinRequest, JoinResponse } from '../../proto/xos/admission/v1/admission.ts';
import { keyOfRequest } from '../keys.ts';
import type { Registry } from '../registry.ts';
import { tokenFits } from '../state.ts';
import { secretHash } from '../token.ts';

/**
 * Admission.Join: a certificate for an invited node, by the secret of its token. The token is used up in the same command that admits
 * the node, so two who hold it cannot both come in; it is looked at before a certificate is made.
 */
export async function joinNode(registry: Registry, request: JoinRequest): Promise<JoinResponse> {
  const { clock, log } = registry.ports;
  const vo = registry.require();
  const node = parseNodeId(request.node);
  const place = { node, ...checkPlace(request) };
  const token = secretHash(request.secret);
  const entry = Object.hasOwn(vo.nodes, node) ? vo.nodes[node]! : null;
  try {
    const publicKey = entry === null ? null : keyOfRequest(request.csr);
    const key = createHash('sha256').update(publicKey ?? '').digest('hex');
    if (entry === null || publicKey === null || !tokenFits(entry, token, key)) throw new XosError('XOS_BAD_TOKEN', `the join token of node '${node}' is not (or no more) good; a token works once; make a new one with 'xvo node invite ${vo.vo} ${node}'`, { node });
    const made = await registry.certifyNode(vo.vo, node, publicKey);
    await registry.propose({ kind: 'node-join', ...place, token, key, serial: made.serial, expires_ms: made.expires_ms, at_ms: clock.now_ms() });
    log.info('node joined', { node, address: place.address });
    return { certificate: made.certificate, trust: Buffer.from(JSON.stringify(registry.trust())), expires_ms: made.expires_ms };
  } catch (thrown) {
    log.warn('a node was not let in', { node, reason: describe(thrown) });
    throw thrown;
  }
}

/** Where a node says it is; throws XOS_BAD_ARGUMENT. */
export function checkPlace(place: { readonly address: string; readonly port: number; readonly roles: readonly string[] }): { address: string; port: number; roles: readonly NodeRole[] } {
  if (!/^[A-Za-z0-9.:_-]{1,255}$/.test(place.address)) throw new XosError('XOS_BAD_ARGUMENT', `address '${place.address.slice(0, 80)}' of a node is not valid`);
  if (!Number.isInteger(place.port) || place.port < 1 || place.port > 65_535) throw new XosError('XOS_BAD_ARGUMENT', `port ${place.port} of a node is not valid`);
  for (const role of place.roles) if (!node_roles.includes(role as NodeRole)) throw new XosError('XOS_BAD_ARGUMENT', `role '${role.slice(0, 80)}' of a node is not one of ${node_roles.join(', ')}`);
  return { address: place.address, port: place.port, roles: place.roles as readonly NodeRole[] };
}

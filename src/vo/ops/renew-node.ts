import type { RpcCall } from '../../core/rpc.ts';
import type { JoinResponse, RenewNodeRequest } from '../../proto/xos/admission/v1/admission.ts';
import { keyOfRequest } from '../keys.ts';
import type { Registry } from '../registry.ts';

/** Resources.Renew: a new certificate for the calling node, by the one that it calls with. */
export async function renewNode(registry: Registry, request: RenewNodeRequest, call: RpcCall): Promise<JoinResponse> {
  const vo = registry.require();
  const { node } = call.peer!;
  const made = await registry.certifyNode(vo.vo, node, keyOfRequest(request.csr));
  await registry.propose({ kind: 'node-renew', node, serial: made.serial, expires_ms: made.expires_ms, at_ms: registry.ports.clock.now_ms() });
  registry.ports.log.info('node certificate renewed', { node });
  return { certificate: made.certificate, trust: Buffer.from(JSON.stringify(registry.trust())), expires_ms: made.expires_ms };
}

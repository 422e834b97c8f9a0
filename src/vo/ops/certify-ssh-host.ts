import { XosError } from '../../core/errors.ts';
import { nodeHost, nodeUri } from '../../core/ids.ts';
import { limits } from '../../core/limits.ts';
import type { RpcCall } from '../../core/rpc.ts';
import type { SshHostRequest, SshHostResponse } from '../../proto/xos/admission/v1/admission.ts';
import type { Registry } from '../registry.ts';
import { issueSshCertificate, SshReader } from '../ssh.ts';

/** Resources.CertifySshHost: a host certificate for the sshd of the calling node; it names the node and its address. */
export async function certifySshHost(registry: Registry, request: SshHostRequest, call: RpcCall): Promise<SshHostResponse> {
  const vo = registry.require();
  const { node } = call.peer!;
  const read = new SshReader(Buffer.from(request.public_key));
  const [type, raw] = [read.text(), read.string()];
  if (type !== 'ssh-ed25519' || raw.length !== 32 || !read.done) throw new XosError('XOS_BAD_REQUEST', `the ssh host key of node '${node}' is no Ed25519 key`);
  const now_ms = registry.ports.clock.now_ms();
  const expires_ms = now_ms + limits.node_certificate_ms;
  const address = vo.nodes[node]?.address ?? '';
  const random = registry.ports.random;
  const certificate = issueSshCertificate({
    kind: 'host', publicKey: raw, serial: random.bytes(8), nonce: random.bytes(32), key_id: nodeUri(vo.vo, node),
    principals: [nodeHost(vo.vo, node), node, ...(address === '' ? [] : [address])], not_before_ms: now_ms - limits.backdate_ms, expires_ms,
    session: null, authority: registry.nodeIssuer().key,
  });
  return { certificate, expires_ms };
}

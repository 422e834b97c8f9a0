import type { ExecutionContext } from 'ava';
import { systemClock } from '../../src/platform/clock.ts';
import { NodeRpc, type TlsIdentity } from '../../src/platform/rpc.ts';
import { systemRandom } from '../../src/platform/random.ts';
import type { XosError } from '../../src/core/errors.ts';
import type { PeerIdentity } from '../../src/core/rpc.ts';
import { issueNodeCertificate } from '../../src/vo/authority.ts';
import { newSerial } from '../../src/vo/leaf.ts';
import { keyFromPem, keyToPem, newKey, publicDer } from '../../src/vo/keys.ts';
import { chainOf } from '../../src/vo/trust.ts';
import type { TestVo } from '../vo/authority.ts';
import { quietLog } from './ports.ts';

/** A node's TLS identity as the RCA of `vo` issues it; `change` makes it wrong in one way. */
export async function testIdentity(vo: TestVo, node: string, change: { now_ms?: number; life_ms?: number; issuer?: { key: string; certificate: string }; named?: string } = {}): Promise<TlsIdentity> {
  const key = newKey();
  const now_ms = change.now_ms ?? Date.now();
  const issuer = change.issuer ?? { key: vo.founding.node_ca_key, certificate: vo.founding.node_ca };
  const certificate = await issueNodeCertificate({
    vo: change.named ?? vo.trust.vo, node, publicKey: publicDer(key), serial: newSerial(systemRandom), now_ms, expires_ms: now_ms + (change.life_ms ?? 3_600_000),
    issuer: { key: keyFromPem(issuer.key), certificate: issuer.certificate },
  });
  return { vo: vo.trust.vo, node, key: keyToPem(key), chain: certificate + chainOf(vo.trust), ca: vo.trust.node_ca };
}

/** Nodes that know each other's address, on loopback with ports of the kernel's choice. */
export class TestNodes {
  readonly #ports = new Map<string, number>();
  readonly #t: ExecutionContext;
  refuse: (peer: PeerIdentity) => XosError | null = () => null;

  constructor(t: ExecutionContext) {
    this.#t = t;
  }

  rpc(identity: TlsIdentity): NodeRpc {
    const rpc = new NodeRpc(identity, {
      clock: systemClock,
      log: quietLog,
      resolve: (node) => {
        const port = this.#ports.get(node);
        return port === undefined ? null : { address: '127.0.0.1', port };
      },
      refuse: (peer) => this.refuse(peer),
    });
    this.#t.teardown(() => rpc.stop());
    return rpc;
  }

  async listen(rpc: NodeRpc, node: string): Promise<number> {
    const port = await rpc.listen('127.0.0.1', 0);
    this.#ports.set(node, port);
    return port;
  }

  forget(node: string): void {
    this.#ports.delete(node);
  }
}

// Many overlays in one process: each with its own UDP socket on loopback, its own keys, certificate and state, as xosd runs it; no gRPC and no
// native daemons, which the overlay does not need. A process of its own for each would need 80 MB.
import { mkdtemp, rm } from 'node:fs/promises';
import type { ExecutionContext } from 'ava';
import { ApiRegistry } from '../../../src/api/registry.ts';
import { XosError } from '../../../src/core/errors.ts';
import type { NodeRecord } from '../../../src/core/model.ts';
import type { Ports } from '../../../src/core/ports.ts';
import type { NodeContext } from '../../../src/daemon/context.ts';
import { OverlayService, type OverlayOptions } from '../../../src/overlay/service/index.ts';
import { systemClock } from '../../../src/platform/clock.ts';
import { systemDatagrams } from '../../../src/platform/datagrams.ts';
import { systemDisk } from '../../../src/platform/disk.ts';
import { systemRandom } from '../../../src/platform/random.ts';
import { issueNodeCertificate, newSerial } from '../../../src/vo/authority.ts';
import { keyFromPem, newKey, publicDer } from '../../../src/vo/keys.ts';
import { quietLog } from '../../support/ports.ts';
import type { TestVo } from '../../vo/authority.ts';

export interface Instances {
  readonly services: readonly OverlayService[];
  readonly contexts: readonly NodeContext[];
  /** Nodes that are refused from now on. */
  readonly revoked: Set<string>;
  readonly changed: () => void;
  stop(): Promise<void>;
}

/** `count` nodes n1, n2 … of the VO; started, not waited for. `port`: of n1, the others follow. */
export async function instances (t: Pick<ExecutionContext, 'teardown'>, vo: TestVo, count: number, port: number, change: (node: string) => Partial<OverlayOptions> = () => ({})): Promise<Instances> {
  const directory = await mkdtemp('/tmp/overlay-');
  const records: NodeRecord[] = Array.from({ length: count }, (_, i) => ({ node: `n${i + 1}`, address: '127.0.0.1', port: port + i, roles: ['relay'], state: 'admitted' }));
  const revoked = new Set<string>();
  const listeners = new Set<() => void>();
  const nodes = (): NodeRecord[] => records.map((record) => (revoked.has(record.node) ? { ...record, state: 'revoked' } : record));
  const members = {
    get: () => null, byUid: () => null, list: () => [], node: (node: string) => nodes().find((each) => each.node === node) ?? null, nodes,
    admitted: () => nodes().filter(({ state }) => state === 'admitted'), withRole: () => null, connected: () => true,
    onChange: (listener: () => void) => (listeners.add(listener), () => void listeners.delete(listener)),
  } as unknown as NodeContext['members'];
  const issuer = { key: keyFromPem(vo.founding.node_ca_key), certificate: vo.founding.node_ca };
  // systeminformation is asked once by a real node; two hundred would ask it two hundred times at once.
  const spawn = { run: async () => ({ exit_code: 0, exit_signal: null, stdout: JSON.stringify({ cores: 4, memory: 2 ** 34, arch: 'x64', os: 'test' }), stderr: '' }) };
  const ports = { clock: systemClock, random: systemRandom, disk: systemDisk, datagrams: systemDatagrams, spawn, log: quietLog } as unknown as Ports;
  const contexts: NodeContext[] = [];
  const services: OverlayService[] = [];
  for (const { node, address, port: own } of records) {
    const key = await newKey();
    const certificate = await issueNodeCertificate({ vo: vo.trust.vo, node, publicKey: publicDer(key), serial: newSerial(systemRandom), now_ms: Date.now(), expires_ms: Date.now() + 3_600_000, issuer });
    const context = {
      node, vo: vo.trust.vo, address, port: own, roles: ['relay'], ports, members, api: new ApiRegistry(), provided: { volumes: null },
      paths: { state: `${directory}/${node}`, run: `${directory}/${node}` },
    } as unknown as NodeContext;
    contexts.push(context);
    services.push(new OverlayService({
      context, listen: '127.0.0.1', node_ca: vo.founding.node_ca, identity: () => ({ key, certificate }), attributes: {}, rules: [],
      refuse: (peer) => (revoked.has(peer.node) || !records.some((record) => record.node === peer.node) ? new XosError('XOS_NOT_ADMITTED', 'no') : null),
      facts: { registry: null, take: async () => false }, ...change(node),
    }));
  }
  const stop = async (): Promise<void> => {
    await Promise.all(services.map((service) => service.stop()));
    await rm(directory, { recursive: true, force: true });
  };
  t.teardown(stop);
  for (const service of services) await service.start(new AbortController().signal);
  return { services, contexts, revoked, changed: () => { for (const listener of listeners) listener(); }, stop };
}

export async function until (holds: () => boolean, step_ms = 50): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, step_ms));
}

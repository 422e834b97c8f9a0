// Many overlays in one process, each with a socket of its own on loopback. (fleet.ts gives each a process and a network namespace.)
import { mkdtemp, rm } from 'node:fs/promises';
import type { ExecutionContext } from 'ava';
import type { NodeRecord } from '../../../src/core/model.ts';
import type { Clock } from '../../../src/core/ports.ts';
import type { NodeContext } from '../../../src/daemon/context.ts';
import type { OverlayOptions, OverlayService } from '../../../src/overlay/service/index.ts';
import { systemRandom } from '../../../src/platform/random.ts';
import { issueNodeCertificate } from '../../../src/vo/authority.ts';
import { newSerial } from '../../../src/vo/leaf.ts';
import { keyFromPem, keyToPem, newKey, publicDer } from '../../../src/vo/keys.ts';
import type { TestVo } from '../../vo/authority.ts';
import { makeInstance } from './instance.ts';

export interface Instances {
  readonly services: readonly OverlayService[];
  readonly contexts: readonly NodeContext[];
  /** Nodes that are refused from now on. */
  readonly revoked: Set<string>;
  readonly changed: () => void;
  stop(): Promise<void>;
}

/** Key and certificate (PEM) of a node, good for a day. */
export async function identityOf (vo: TestVo, node: string): Promise<{ readonly key: string; readonly certificate: string }> {
  const key = newKey();
  const issuer = { key: keyFromPem(vo.founding.node_ca_key), certificate: vo.founding.node_ca };
  const certificate = await issueNodeCertificate({ vo: vo.trust.vo, node, publicKey: publicDer(key), serial: newSerial(systemRandom), now_ms: Date.now(), expires_ms: Date.now() + 24 * 3_600_000, issuer });
  return { key: keyToPem(key), certificate };
}

/** `count` nodes n1, n2 … of the VO; started, not waited for. `port`: of n1, the others follow. */
export async function instances (t: Pick<ExecutionContext, 'teardown'>, vo: TestVo, count: number, port: number, change: (node: string) => Partial<OverlayOptions> = () => ({}), clock?: Clock): Promise<Instances> {
  const directory = await mkdtemp('/tmp/overlay-');
  const records: NodeRecord[] = Array.from({ length: count }, (_, i) => ({ node: `n${i + 1}`, address: '127.0.0.1', port: port + i, roles: ['relay'], state: 'admitted' }));
  const revoked = new Set<string>();
  const listeners = new Set<() => void>();
  const nodes = (): NodeRecord[] => records.map((record) => (revoked.has(record.node) ? { ...record, state: 'revoked' } : record));
  const onChange = (listener: () => void): (() => void) => (listeners.add(listener), () => void listeners.delete(listener));
  const made = [];
  for (const { node } of records) {
    made.push(makeInstance({ vo: vo.trust.vo, node, node_ca: vo.founding.node_ca, ...await identityOf(vo, node), nodes, onChange, directory, change: change(node), ...(clock === undefined ? {} : { clock }) }));
  }
  const services = made.map(({ service }) => service);
  const stop = async (): Promise<void> => {
    await Promise.all(services.map((service) => service.stop()));
    await rm(directory, { recursive: true, force: true });
  };
  t.teardown(stop);
  for (const service of services) await service.start(new AbortController().signal);
  return { services, contexts: made.map(({ context }) => context), revoked, changed: () => { for (const listener of listeners) listener(); }, stop };
}

export async function until (holds: () => boolean, step_ms = 50): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, step_ms));
}

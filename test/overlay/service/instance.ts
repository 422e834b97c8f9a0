// One overlay as xosd runs it: its own UDP socket, keys, certificate and state; no gRPC and no native daemons, which the overlay does not need.
import { createPrivateKey, type KeyObject } from 'node:crypto';
import type { TimerOptions } from 'node:timers';
import { setTimeout as sleep } from 'node:timers/promises';
import { ApiRegistry } from '../../../src/api/registry.ts';
import { XosError } from '../../../src/core/errors.ts';
import type { NodeRecord } from '../../../src/core/model.ts';
import type { Clock, Ports } from '../../../src/core/ports.ts';
import type { NodeContext } from '../../../src/daemon/context.ts';
import { OverlayService, type OverlayOptions } from '../../../src/overlay/service/index.ts';
import { systemClock } from '../../../src/platform/clock.ts';
import { systemDatagrams } from '../../../src/platform/datagrams.ts';
import { systemDisk } from '../../../src/platform/disk.ts';
import { systemRandom } from '../../../src/platform/random.ts';
import { quietLog } from '../../support/ports.ts';

export interface InstanceOptions {
  readonly vo: string;
  readonly node: string;
  /** The VO's node CA (PEM), the node's own certificate and key (PEM). */
  readonly node_ca: string;
  readonly certificate: string;
  readonly key: string;
  /** Of the whole VO; asked anew each time. */
  readonly nodes: () => readonly NodeRecord[];
  readonly onChange?: (listener: () => void) => () => void;
  readonly directory: string;
  readonly clock?: Clock;
  readonly change?: Partial<OverlayOptions>;
}

export function makeInstance (options: InstanceOptions): { readonly service: OverlayService; readonly context: NodeContext } {
  const { vo, node, node_ca, certificate, nodes, directory } = options;
  const find = (name: string): NodeRecord | null => nodes().find((each) => each.node === name) ?? null;
  const admitted = (): NodeRecord[] => nodes().filter(({ state }) => state === 'admitted');
  const members = {
    get: () => null, byUid: () => null, list: () => [], node: find, nodes, admitted, withRole: () => null, connected: () => true, onChange: options.onChange ?? (() => () => {}),
  } as unknown as NodeContext['members'];
  // systeminformation is asked once by a real node; two hundred would ask it two hundred times at once.
  const spawn = { run: async () => ({ exit_code: 0, exit_signal: null, stdout: JSON.stringify({ cores: 4, memory: 2 ** 34, arch: 'x64', os: 'test' }), stderr: '' }) };
  const ports = { clock: options.clock ?? systemClock, random: systemRandom, disk: systemDisk, datagrams: systemDatagrams, spawn, log: quietLog } as unknown as Ports;
  const own = find(node)!;
  const context = {
    node, vo, address: own.address, port: own.port, roles: ['relay'], ports, members, api: new ApiRegistry(), provided: { volumes: null },
    paths: { state: `${directory}/${node}`, run: `${directory}/${node}` },
  } as unknown as NodeContext;
  const key: KeyObject = createPrivateKey(options.key);
  const service = new OverlayService({
    context, listen: own.address, node_ca, identity: () => ({ key, certificate }), attributes: {}, rules: [],
    refuse: (peer) => (find(peer.node)?.state === 'admitted' ? null : new XosError('XOS_NOT_ADMITTED', 'no')),
    facts: { registry: null, take: async () => false }, ...options.change,
  });
  return { service, context };
}

/** A process that could not run for longer than this has, by a fast clock, not lived for longer: on a busy machine that runs slower, and nothing is late. */
const stall_ms = 4;

/** A clock that is `speed` times as fast as the system's: every wait, life and expiry of the overlay goes by this port. */
export function fastClock (speed: number): Clock {
  const began_ms = Date.now();
  let [passed, last] = [0, performance.now()];
  const elapsed = (): number => {
    const now = performance.now();
    passed += Math.min(now - last, stall_ms) * speed;
    last = now;
    return passed;
  };
  setInterval(elapsed, stall_ms / 4).unref();
  const wait = async (ms: number, options: TimerOptions): Promise<void> => {
    const end = elapsed() + ms;
    for (let left = ms; left > 0; left = end - elapsed()) await sleep(left / speed, undefined, options);
  };
  return {
    now_ms: () => Math.floor(began_ms + elapsed()), monotonic_ms: elapsed, sleep: (ms, signal) => wait(ms, { signal }),
    deadline (ms, signal) {
      const controller = new AbortController();
      void wait(ms, { ref: false }).then(() => controller.abort(new DOMException('The operation was aborted due to timeout', 'TimeoutError')));
      return signal === undefined ? controller.signal : AbortSignal.any([controller.signal, signal]);
    },
  };
}

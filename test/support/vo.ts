import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ApiRegistry } from '../../src/api/registry.ts';
import type { Member, NodeRecord, NodeRole } from '../../src/core/model.ts';
import { node_roles } from '../../src/core/model.ts';
import { XosError } from '../../src/core/errors.ts';
import { Listeners } from '../../src/core/signal.ts';
import type { Members, NodeContext, Sessions } from '../../src/daemon/context.ts';
import { ControlServer, ReconnectingControlClient, type ControlCall } from '../../src/platform/control.ts';
import { systemPorts } from '../../src/platform/ports.ts';
import { NodeRpc } from '../../src/platform/rpc.ts';
import { noManager } from '../../src/platform/service-manager.ts';
import { foundAuthorities, issueNodeCertificate, type Founding } from '../../src/vo/authority.ts';
import { newSerial } from '../../src/vo/leaf.ts';
import { keyFromPem, keyToPem, newKey, publicDer } from '../../src/vo/keys.ts';
import { quietLog } from './ports.ts';

/**
 * Nodes of one VO in this process: real gRPC with real certificates over loopback, real control sockets in a temporary directory. The
 * native daemons behind the sockets are scripts of the test, since these need root; test/grid runs the services against the real ones.
 */
export interface TestNode {
  readonly context: NodeContext;
  readonly rpc: NodeRpc;
  /** Begins (or begins again) to play a native daemon of this node. */
  daemon(name: keyof NodeContext['native'], handler: (op: string, fields: Record<string, unknown>, call: ControlCall) => object | Promise<object>): Promise<ControlServer>;
  /** Answers an operation of xosd.sock as the caller with this uid. */
  api(op: string, uid: number, request?: object): Promise<never>;
  stop(): Promise<void>;
}

export interface TestVo {
  readonly nodes: readonly TestNode[];
  node(name: string): TestNode;
  /** Changes a node's record and tells all nodes. */
  change(node: string, record: Partial<NodeRecord>): void;
  stop(): Promise<void>;
}

export const alice: Member = { user: 'alice', vo: 'demo', uid: 1879113729, gid: 1879113729, groups: [1879113729, 1879113728], roles: ['admin'], state: 'active' };
export const bob: Member = { ...alice, user: 'bob', uid: 1879113730, gid: 1879113730, groups: [1879113730, 1879113728], roles: [] };

export async function startVo(names: readonly string[], rolesOf: (node: string) => readonly NodeRole[] = () => node_roles): Promise<TestVo> {
  const directory = mkdtempSync(join(tmpdir(), 'xos-test-'));
  const ports = systemPorts(quietLog, noManager);
  const founding = await foundAuthorities('demo', ports.clock.now_ms(), ports.random);
  const records = new Map<string, NodeRecord>(names.map((node) => [node, { node, address: '127.0.0.1', port: 0, roles: rolesOf(node), state: 'admitted' }]));
  const changes = new Listeners<[]>();
  const members = membersOf(records, changes);
  const nodes = await Promise.all(names.map((node) => startNode(node, join(directory, node), founding, records, members)));
  return {
    nodes,
    node: (name) => nodes[names.indexOf(name)]!,
    change(node, record) {
      records.set(node, { ...records.get(node)!, ...record });
      changes.emit();
    },
    async stop() {
      for (const node of nodes) await node.stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

function membersOf(records: Map<string, NodeRecord>, changes: Listeners<[]>): Members {
  const people = [alice, bob];
  return {
    get: (user) => people.find((each) => each.user === user) ?? null,
    byUid: (uid) => people.find((each) => each.uid === uid) ?? null,
    list: () => people,
    node: (node) => records.get(node) ?? null,
    nodes: () => [...records.values()],
    admitted: () => [...records.values()].filter(({ state }) => state === 'admitted'),
    withRole: (role) => [...records.values()].find(({ state, roles }) => state === 'admitted' && roles.includes(role)) ?? null,
    onChange: (listener) => changes.add(listener),
    policy: () => ({}),
    connected: () => true,
  };
}

async function startNode(node: string, directory: string, founding: Founding, records: Map<string, NodeRecord>, members: Members): Promise<TestNode> {
  const ports = systemPorts(quietLog, noManager);
  const key = newKey();
  const now_ms = ports.clock.now_ms();
  const certificate = await issueNodeCertificate({
    vo: 'demo', node, publicKey: publicDer(key), serial: newSerial(ports.random), now_ms, expires_ms: now_ms + 3_600_000,
    issuer: { key: keyFromPem(founding.node_ca_key), certificate: founding.node_ca },
  });
  const rpc = new NodeRpc({ vo: 'demo', node, key: keyToPem(key), chain: certificate, ca: founding.node_ca }, {
    clock: ports.clock, log: quietLog,
    resolve: (name) => records.get(name) ?? null,
    refuse: (peer) => (records.get(peer.node)?.state === 'admitted' ? null : new XosError('XOS_NOT_ADMITTED', `node '${peer.node}' is not admitted`)),
  });
  const port = await rpc.listen('127.0.0.1', 0);
  records.set(node, { ...records.get(node)!, port });
  const run = join(directory, 'run');
  const control = (name: string): ReconnectingControlClient => new ReconnectingControlClient(join(run, name), ports);
  const native = { relay: control('relayd.ctl'), osd: control('osd.ctl'), mrc: control('mrc.ctl'), mount: control('mount-demo.ctl') };
  for (const client of Object.values(native)) client.start();
  const sessions: Sessions = { list: () => [], get: () => null, onOpen: () => () => {}, onClose: () => () => {} };
  const context: NodeContext = {
    node, vo: 'demo', address: '127.0.0.1', port, roles: records.get(node)!.roles, ports, rpc, api: new ApiRegistry(), native, members, sessions,
    paths: { run, state: join(directory, 'state'), etc: join(directory, 'etc'), grid: join(directory, 'grid'), home: join(directory, 'home'), services: join(directory, 'services'), skeleton: join(directory, 'skel') },
    provided: { volumes: null },
  };
  const servers: ControlServer[] = [];
  return {
    context, rpc,
    async daemon(name, handler) {
      const server = new ControlServer(ports, native[name].path, 0o600, async (op, fields, call) => handler(op, fields, call));
      await server.start();
      servers.push(server);
      await until(() => native[name].connected);
      return server;
    },
    async api(op, uid, request = {}) {
      const member = members.byUid(uid);
      const handler = context.api.get(op);
      if (handler === null) throw new XosError('XOS_NO_OPERATION', `no operation ${op}`);
      const answered = handler({ uid, gid: uid, pid: 1, user: member?.user ?? null, vo: 'demo' }, request as never, new AbortController().signal) as Promise<never> | AsyncGenerator<object, object>;
      if (!(Symbol.asyncIterator in answered)) return await answered;
      // What comes in portions is put together: the arrays of all of them, and the answer's fields.
      const all: Record<string, unknown[]> = {};
      for (;;) {
        const { done, value } = await answered.next();
        if (done) return { ...all, ...value } as never;
        for (const [name, list] of Object.entries(value)) (all[name] ??= []).push(...(list as unknown[]));
      }
    },
    async stop() {
      await rpc.stop();
      for (const server of servers) await server.stop();
      for (const client of Object.values(native)) await client.close();
    },
  };
}

/** Waits until `condition` holds, ten seconds at most: for what another process or connection does in its own time. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (const end = performance.now() + 10_000; !(await condition());) {
    if (performance.now() > end) throw new Error(`this did not come true: ${condition.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

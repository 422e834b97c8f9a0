// Real gRPC over mutual TLS on loopback: who is let in, what errors become, deadlines, streams, renewal.
import test from 'ava';
import { XosError } from '../../src/core/errors.ts';
import { joiningClient, shownChain } from '../../src/platform/rpc.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { CredentialsDefinition } from '../../src/proto/xos/credential/v1/credential.ts';
import { RegistryDefinition } from '../../src/proto/xos/registry/v1/registry.ts';
import { SessionsDefinition } from '../../src/proto/xos/session/v1/session.ts';
import { fingerprint } from '../../src/vo/trust.ts';
import { testVo } from '../vo/authority.ts';
import { TestNodes, testIdentity } from '../support/nodes.ts';
import type { NodeRpc } from '../../src/platform/rpc.ts';
import type { RpcCall } from '../../src/core/rpc.ts';

const demo = await testVo();
const never = new Promise<never>(() => {});
const code = async (work: Promise<unknown>): Promise<string> => await work.then(() => 'accepted', (thrown: unknown) => (thrown instanceof XosError ? thrown.code : `not ours: ${String(thrown)}`));

/** n1 serves; what it heard is in `calls`. */
async function serving(t: import('ava').ExecutionContext): Promise<{ nodes: TestNodes; server: NodeRpc; calls: RpcCall[]; port: number }> {
  const nodes = new TestNodes(t);
  const server = nodes.rpc(await testIdentity(demo, 'n1'));
  const calls: RpcCall[] = [];
  server.serve(SessionsDefinition, {
    open: async (request, call) => {
      calls.push(call);
      if (request.session === 'fail') throw new XosError('XOS_EXAMPLE', `cannot open '${request.session}'`, { why: 'asked for' });
      if (request.session === 'bug') throw new TypeError('undefined is not a function');
      if (request.session === 'hang') await never;
      return { expires_ms: request.expires_ms + 1 };
    },
    close: async () => ({}),
    sync: async (request) => ({ missing: request.sessions.map(({ session }) => session) }),
  });
  server.serve(RegistryDefinition, {
    watch: async function* (request, call) {
      for (let version = request.membership_version; version < 5; version++) yield { membership: Buffer.from(String(version)) };
      if (request.port === 1) throw new XosError('XOS_EXAMPLE', 'the stream fails');
      if (request.port === 2) await new Promise<void>((resolve) => call.signal.addEventListener('abort', () => (calls.push(call), resolve())));
    },
    admin: async () => ({ response: Buffer.alloc(0) }),
  });
  server.serve(CredentialsDefinition, {
    issue: async (_request, call) => ({ credential: call.peer === null ? 'nobody' : call.peer.node, expires_ms: 0, change: false, ssh_certificate: new Uint8Array() }),
    renew: async () => ({ credential: '', expires_ms: 0 }),
    changePassword: async () => ({}),
  }, 'anyone');
  const port = await nodes.listen(server, 'n1');
  return { nodes, server, calls, port };
}

const open = (rpc: NodeRpc, session = 'ok', options = {}): Promise<{ expires_ms: number }> =>
  rpc.client('n1', SessionsDefinition).open({ session, credential: '', issued_ms: 1, expires_ms: 2 ** 52, nonce: Buffer.alloc(0), signature: Buffer.alloc(0) }, options);

test('a node of the VO is served, and known by its certificate', async (t) => {
  const { nodes, calls } = await serving(t);
  const n2 = nodes.rpc(await testIdentity(demo, 'n2'));
  t.deepEqual(await open(n2), { expires_ms: 2 ** 52 + 1 });
  t.is(calls[0]?.peer?.node, 'n2');
  t.is(calls[0]?.peer?.vo, 'demo');
  t.regex(calls[0]?.peer?.serial ?? '', /^[0-9a-f]{32}$/);
});

for (const [what, change] of [
  ['an expired certificate', { now_ms: Date.now() - 7_200_000, life_ms: 3_600_000 }],
  ['a certificate that is not valid yet', { now_ms: Date.now() + 7_200_000 }],
  ['a certificate that the user CA signed', { issuer: { key: demo.founding.user_ca_key, certificate: demo.founding.user_ca } }],
  ['a certificate of our CA that names another VO', { named: 'other' }],
] as const) {
  test(`a caller with ${what} is not admitted`, async (t) => {
    const { nodes, calls } = await serving(t);
    t.is(await code(open(nodes.rpc(await testIdentity(demo, 'n2', change)))), 'XOS_NOT_ADMITTED');
    t.is(calls.length, 0);
  });
}

test('a node of a foreign VO is not admitted, and does not admit our server either', async (t) => {
  const { nodes, calls } = await serving(t);
  const other = await testVo('other');
  t.is(await code(open(nodes.rpc(await testIdentity(other, 'n2')))), 'XOS_UNREACHABLE');
  // One that believes our CA, and shows its own certificate.
  const identity = { ...(await testIdentity(other, 'n2')), ca: demo.trust.node_ca, vo: 'demo' };
  t.is(await code(open(nodes.rpc(identity))), 'XOS_NOT_ADMITTED');
  t.is(calls.length, 0);
});

test('a revoked node is refused at its next call, with the reason', async (t) => {
  const { nodes } = await serving(t);
  const n2 = nodes.rpc(await testIdentity(demo, 'n2'));
  t.is(await code(open(n2)), 'accepted');
  nodes.refuse = (peer) => (peer.node === 'n2' ? new XosError('XOS_NOT_ADMITTED', 'revoked for the test') : null);
  const refused = await t.throwsAsync<XosError>(open(n2));
  t.deepEqual([refused.code, refused.message], ['XOS_NOT_ADMITTED', 'revoked for the test']);
});

test('a running call of a node that is dropped ends', async (t) => {
  const { nodes, server, calls } = await serving(t);
  const n2 = nodes.rpc(await testIdentity(demo, 'n2'));
  const stream = n2.client('n1', RegistryDefinition).watch({ membership_version: 4, revocation_version: 0, address: '', port: 2, roles: [] }, { deadline_ms: 0 });
  const ended = (async () => {
    for await (const _ of stream) server.drop('n2');
  })();
  t.is(await code(ended), 'XOS_NOT_ADMITTED');
  t.true(calls[0]!.signal.aborted);
});

test('a server that is another node than the one called is not believed', async (t) => {
  const { nodes, port } = await serving(t);
  const impostor = nodes.rpc(await testIdentity(demo, 'n3'));
  impostor.serve(SessionsDefinition, { open: async () => ({ expires_ms: 666 }), close: async () => ({}), sync: async () => ({ missing: [] }) });
  await nodes.listen(impostor, 'n1'); // n1's address now leads to n3
  const n2 = nodes.rpc(await testIdentity(demo, 'n2'));
  t.is(await code(open(n2, 'ok', { deadline_ms: 3_000 })), 'XOS_UNREACHABLE');
  t.true(port > 0);
});

test('a service for anyone serves a caller without certificate, and the others do not', async (t) => {
  const { port } = await serving(t);
  const where = { address: '127.0.0.1', port, vo: 'demo', registry: 'n1', root: demo.trust.root };
  const anyone = joiningClient(where, CredentialsDefinition, systemClock);
  const node = joiningClient(where, SessionsDefinition, systemClock);
  t.teardown(() => (anyone.close(), node.close()));
  t.is((await anyone.client.issue({ user: 'a', password: '', csr: Buffer.alloc(0), session: '', service: '', tty: '', rhost: '' })).credential, 'nobody');
  t.is(await code(node.client.close({ session: '', reason: '', kill: false })), 'XOS_NOT_ADMITTED');
});

test('a joining node finds the root in what the registry shows, and believes only the registry it was told of', async (t) => {
  const { port } = await serving(t);
  const chain = await shownChain('127.0.0.1', port, AbortSignal.timeout(5_000));
  t.true(chain.some((certificate) => fingerprint(certificate) === demo.pin));
  const other = await testVo();
  for (const wrong of [{ registry: 'n2' }, { vo: 'other' }, { root: other.trust.root }]) {
    const { client, close } = joiningClient({ address: '127.0.0.1', port, vo: 'demo', registry: 'n1', root: demo.trust.root, ...wrong }, CredentialsDefinition, systemClock);
    t.teardown(close);
    t.is(await code(client.changePassword({ user: '', old: '', password: '' }, { deadline_ms: 3_000 })), 'XOS_UNREACHABLE', JSON.stringify(Object.keys(wrong)));
  }
});

test('errors of ours arrive with code and data, others without their inside', async (t) => {
  const { nodes } = await serving(t);
  const n2 = nodes.rpc(await testIdentity(demo, 'n2'));
  const refused = await t.throwsAsync<XosError>(open(n2, 'fail'));
  t.deepEqual([refused.code, refused.message, refused.data], ['XOS_EXAMPLE', "cannot open 'fail'", { why: 'asked for' }]);
  t.is(await code(open(n2, 'bug')), 'XOS_INTERNAL');
});

test('a deadline and an abort end a call, on both sides', async (t) => {
  const { nodes, calls } = await serving(t);
  const n2 = nodes.rpc(await testIdentity(demo, 'n2'));
  t.is(await code(open(n2, 'hang', { deadline_ms: 500 })), 'XOS_TIMEOUT');
  const controller = new AbortController();
  const before = calls.length; // the first may have timed out on its way
  const given = open(n2, 'hang', { signal: controller.signal });
  while (calls.length === before) await systemClock.sleep(5);
  const aborted = new Promise((resolve) => calls.at(-1)!.signal.addEventListener('abort', resolve));
  controller.abort();
  t.is(await code(given), 'XOS_ABORTED');
  await aborted;
});

test('a node that the VO does not have, and one that is down', async (t) => {
  const { nodes, server } = await serving(t);
  const n2 = nodes.rpc(await testIdentity(demo, 'n2'));
  t.is(await code(n2.client('n9', SessionsDefinition).close({ session: '', reason: '', kill: false })), 'XOS_NO_NODE');
  await server.stop();
  t.is(await code(open(n2)), 'XOS_UNREACHABLE');
});

test('streams: in order to their end, with their error, and ended by the reader', async (t) => {
  const { nodes, calls } = await serving(t);
  const watch = nodes.rpc(await testIdentity(demo, 'n2')).client('n1', RegistryDefinition).watch;
  const request = { membership_version: 1, revocation_version: 0, address: '', port: 0, roles: [] };
  const seen: string[] = [];
  for await (const documents of watch(request)) seen.push(Buffer.from(documents.membership!).toString());
  t.deepEqual(seen, ['1', '2', '3', '4']);
  const failing = (async () => {
    for await (const _ of watch({ ...request, port: 1 }));
  })();
  t.is(await code(failing), 'XOS_EXAMPLE');
  for await (const documents of watch({ ...request, port: 2 }, { deadline_ms: 0 })) if (documents.membership?.toString() === '4') break;
  while (calls.length === 0) await systemClock.sleep(5);
  t.true(calls[0]!.signal.aborted);
});

test('a call to the node itself needs no network and has the same form', async (t) => {
  const nodes = new TestNodes(t);
  const n1 = nodes.rpc(await testIdentity(demo, 'n1'));
  n1.serve(SessionsDefinition, {
    open: async (request, call) => ({ expires_ms: request.nonce instanceof Uint8Array && call.peer?.node === 'n1' ? 7 : 0 }),
    close: async () => await never,
    sync: async () => ({ missing: [] }),
  });
  t.is((await open(n1)).expires_ms, 7);
  t.is(await code(n1.client('n1', SessionsDefinition).close({ session: '', reason: '', kill: false }, { deadline_ms: 20 })), 'XOS_ABORTED');
});

test('a renewed certificate is used by both sides without a restart', async (t) => {
  const { nodes, server } = await serving(t);
  const short = await testIdentity(demo, 'n2', { now_ms: Date.now() - 3_600_000, life_ms: 3_600_000 + 5_000 });
  const n2 = nodes.rpc(short);
  t.is(await code(open(n2)), 'accepted');
  await systemClock.sleep(5_500);
  n2.renew(await testIdentity(demo, 'n2'));
  server.renew(await testIdentity(demo, 'n1'));
  t.is(await code(open(n2)), 'accepted');
  t.is(await code(open(nodes.rpc(short))), 'XOS_NOT_ADMITTED');
});

// Sessions between two nodes: n1 is the origin, n2 the target. Real gRPC with mutual TLS on loopback, real certificates and documents;
// the relays are control servers that write down what they are told. Needs root (homes change owner).
import test, { type ExecutionContext } from 'ava';
import { mkdtemp, rm } from 'node:fs/promises';
import { XosError } from '../../src/core/errors.ts';
import type { NodeRole } from '../../src/core/model.ts';
import type { NodeContext } from '../../src/daemon/context.ts';
import { ApiRegistry } from '../../src/api/registry.ts';
import { ControlServer, ReconnectingControlClient } from '../../src/platform/control.ts';
import { systemPorts } from '../../src/platform/ports.ts';
import { noManager } from '../../src/platform/service-manager.ts';
import { SessionsDefinition, type OpenRequest } from '../../src/proto/xos/session/v1/session.ts';
import { Homes, OfflineLogins, PendingLogins, SessionTable, Spread, SshAgents, sessionService, type SessionParts } from '../../src/session/index.ts';
import type { HeldSession } from '../../src/session/table.ts';
import { signDocument, type DocumentMember, type DocumentNode } from '../../src/vo/document.ts';
import { keyFromPem, keyOfRequest, keyToPem, signBytes } from '../../src/vo/keys.ts';
import { MembersView } from '../../src/vo/members.ts';
import { ProofGate, renewProofBytes, sessionProofBytes } from '../../src/vo/proof.ts';
import { writeCredential, newSerial } from '../../src/vo/leaf.ts';
import { verifyCredential } from '../../src/vo/credential.ts';
import { CredentialsDefinition } from '../../src/proto/xos/credential/v1/credential.ts';
import { renewLogin } from '../../src/session/ops/renew.ts';
import { systemRandom } from '../../src/platform/random.ts';
import { uidOf } from '../../src/account/uid.ts';
import { Attempts } from '../../src/vo/attempts.ts';
import { testCredential, testVo, type TestVo } from '../vo/authority.ts';
import { TestNodes, testIdentity } from '../support/nodes.ts';
import { keptLog, quietLog } from '../support/ports.ts';
import type { NodeRpc } from '../../src/platform/rpc.ts';

const demo = await testVo();
const asRoot = process.getuid?.() === 0 ? test : test.skip;
if (process.getuid?.() !== 0) console.log('skip sessions between nodes: needs root');

interface TestNode {
  readonly parts: SessionParts;
  readonly rpc: NodeRpc;
  readonly told: { op: string; session?: string; secret?: string; kill?: boolean; origin?: string; expires_ms?: number }[];
  clock_ms: number;
  /** Uids whose credentials the kernel was told to wipe. */
  readonly wiped: readonly number[];
  /** Its log. */
  readonly lines: readonly string[];
}

const member = (user: string, number: number, state: 'active' | 'revoked' = 'active'): DocumentMember => ({ user, uid: uidOf(1, number), roles: [], state });
const node = (name: string, state: DocumentNode['state'] = 'admitted'): DocumentNode => ({ node: name, address: '127.0.0.1', port: 1, roles: ['relay'], state });

async function facts(parts: SessionParts, version: number, members: readonly DocumentMember[], nodes: readonly DocumentNode[]): Promise<void> {
  const common = { vo: 'demo', number: 1, version, issued_ms: Date.now(), expires_ms: Date.now() + 3_600_000 };
  const key = keyFromPem(demo.founding.registry_key);
  const users = members.filter(({ state }) => state === 'revoked').map(({ user, uid }) => ({ user, uid, since_ms: 1, reason: '' }));
  await parts.members.accept({
    membership: signDocument({ kind: 'membership', ...common, registry: 'n1', members, nodes }, key),
    revocation: signDocument({ kind: 'revocation', ...common, users, nodes: [] }, key),
  });
}

async function start(t: ExecutionContext, nodes: TestNodes, name: string, roles: readonly NodeRole[] = ['relay']): Promise<TestNode> {
  const directory = await mkdtemp(`/tmp/xos-session-${name}-`);
  const rpc = nodes.rpc(await testIdentity(demo, name));
  const told: TestNode['told'] = [];
  const relay = new ControlServer({ ...systemPorts(quietLog, noManager), log: quietLog }, `${directory}/relayd.ctl`, 0o600, async (op, fields) => void told.push({ op, ...fields }));
  await relay.start();
  const { log, lines } = keptLog();
  const made = { clock_ms: 0, wiped: [] as number[], lines };
  const system = systemPorts(log, noManager);
  const ports = { ...system, clock: { ...system.clock, now_ms: () => Date.now() + made.clock_ms } };
  const control = (file: string): ReconnectingControlClient => new ReconnectingControlClient(`${directory}/${file}`, ports);
  const native = { relay: control('relayd.ctl'), osd: control('osd.ctl'), mrc: control('mrc.ctl'), mount: control('mount.ctl') };
  native.relay.start();
  const place = { node: name, address: '127.0.0.1', port: 1, roles };
  const members = new MembersView({ trust: demo.trust, place, directory: `${directory}/vo`, ...ports });
  const paths = { run: directory, state: directory, etc: directory, grid: directory, home: `${directory}/home`, skeleton: `${directory}/skel`, services: directory };
  const table = new SessionTable(`${directory}/sessions.json`, ports);
  const context: NodeContext = { node: name, vo: 'demo', address: '127.0.0.1', port: 1, roles, paths, ports, rpc, api: new ApiRegistry(), native, members, sessions: table, provided: { volumes: null } };
  const policy = { deny: ['unwanted'], kill_on_logout: false, offline_hours_max: 168, homes: 'local' as const };
  const parts: SessionParts = { context, trust: demo.trust, members, table, pending: new PendingLogins(), homes: new Homes(context, policy), spread: new Spread(context, table), gate: new ProofGate(`${directory}/proofs.json`, ports), policy, keys: { update: () => false, revoke: (uids) => void made.wiped.push(...uids) }, attempts: new Attempts(), saveAttempts: () => {}, offline: new OfflineLogins(`${directory}/offline.json`, Buffer.from(name), () => 4, ports), sshAgents: new SshAgents(context, demo.trust, table), localAccounts: directory };
  await facts(parts, 1, [member('alice', 1), member('unwanted', 2)], [node('n1'), node('n2'), node('n3')]);
  const service = sessionService(parts);
  await nodes.listen(rpc, name);
  await new Promise<void>((resolve) => native.relay.onConnect(() => resolve()));
  await service.start(new AbortController().signal);
  t.teardown(async () => {
    await service.stop();
    await Promise.all(Object.values(native).map((each) => each.close()));
    await relay.stop();
    await rm(directory, { recursive: true, force: true });
  });
  return Object.assign(made, { parts, rpc, told });
}

async function twoNodes(t: ExecutionContext): Promise<{ nodes: TestNodes; n1: TestNode; n2: TestNode }> {
  const nodes = new TestNodes(t);
  return { nodes, n1: await start(t, nodes, 'n1'), n2: await start(t, nodes, 'n2') };
}

let nonces = 0;
interface Change {
  readonly credential?: Parameters<typeof testCredential>[1];
  readonly vo?: TestVo;
  readonly proof?: { target?: string; origin?: string; issued_ms?: number; session?: string };
  readonly request?: Partial<OpenRequest>;
}

/** What an origin n1 sends to n2, right but for `change`. */
async function openRequest(change: Change = {}): Promise<OpenRequest> {
  const { pem, key, claims } = await testCredential(change.vo ?? demo, change.credential);
  const at = { session: claims.session, expires_ms: Date.now() + 60_000, issued_ms: change.proof?.issued_ms ?? Date.now(), nonce: Buffer.alloc(16, ++nonces) };
  const signature = signBytes(key, sessionProofBytes({ vo: 'demo', origin: 'n1', target: 'n2', ...at, ...change.proof }));
  return { ...at, credential: pem, signature, ...change.request };
}

const code = async (work: Promise<unknown>): Promise<string> => await work.then(() => 'accepted', (thrown: unknown) => (thrown as XosError).code);
const open = (from: TestNode, request: OpenRequest): Promise<unknown> => from.rpc.client('n2', SessionsDefinition).open(request);

asRoot('a good proof opens the session: the relay hears of it, without the secret', async (t) => {
  const { n1, n2 } = await twoNodes(t);
  const request = await openRequest();
  await open(n1, request);
  const [added] = n2.told.filter(({ op }) => op === 'session-add');
  t.is(added?.session, request.session);
  t.is(added?.origin, 'n1');
  t.is(added?.secret, undefined);
  t.is(n2.parts.table.get(request.session)?.user, 'alice');
  t.is(await code(n1.rpc.client('n2', SessionsDefinition).close({ session: request.session, reason: 'test', kill: true })), 'accepted');
  t.is(n2.parts.table.get(request.session), null);
  t.true(n2.told.some(({ op, kill }) => op === 'session-remove' && kill === true));
});

const skew_ms = 10 * 60_000;
for (const [what, change, expected] of [
  ['an expired credential', { credential: { now_ms: Date.now() - 7_200_000, life_ms: 3_600_000 } }, 'XOS_CREDENTIAL_EXPIRED'],
  ['a credential from the future', { credential: { now_ms: Date.now() + skew_ms } }, 'XOS_CLOCK_OFF'],
  ['a proof from the past', { proof: { issued_ms: Date.now() - skew_ms } }, 'XOS_CLOCK_OFF'],
  ['a proof from the future', { proof: { issued_ms: Date.now() + skew_ms } }, 'XOS_CLOCK_OFF'],
  ['a proof for another target', { proof: { target: 'n3' } }, 'XOS_PROOF'],
  ['a proof of another origin', { proof: { origin: 'n3' } }, 'XOS_PROOF'],
  ['a proof for another session', { proof: { session: 'f'.repeat(32) } }, 'XOS_PROOF'],
  ['the session of another credential', { request: { session: 'f'.repeat(32) } }, 'XOS_PROOF'],
  ['a session id that is none', { request: { session: '../x' } }, 'XOS_BAD_NAME'],
  ['a signature that is none', { request: { signature: Buffer.alloc(64) } }, 'XOS_PROOF'],
  ['a longer expiry than was signed', { request: { expires_ms: 2 ** 50 } }, 'XOS_PROOF'],
  ['no credential', { request: { credential: '' } }, 'XOS_CREDENTIAL'],
  ['an extension with uid 0', { credential: { claims: { uid: 0 } } }, 'XOS_CREDENTIAL'],
  ['a user that is no member', { credential: { claims: { user: 'nobody' } } }, 'XOS_REVOKED'],
  ["another member's uid", { credential: { claims: { uid: uidOf(1, 2), groups: [] } } }, 'XOS_REVOKED'],
  ['a user that the site does not want', { credential: { claims: { user: 'unwanted', uid: uidOf(1, 2), groups: [] } } }, 'XOS_SITE_POLICY'],
] as const) {
  asRoot(`refused: ${what}`, async (t) => {
    const { n1, n2 } = await twoNodes(t);
    t.is(await code(open(n1, await openRequest(change as Change))), expected);
    t.deepEqual(n2.parts.table.list(), []);
    t.false(n2.told.some(({ op }) => op === 'session-add'));
    if (expected !== 'XOS_BAD_NAME') t.regex(n2.lines.join('\n'), /a session from another node was not opened .*"reason":"\w/, 'and the log of the node says why');
  });
}

asRoot('refused: everything by a light node, which runs jobs of nobody', async (t) => {
  const nodes = new TestNodes(t);
  const n1 = await start(t, nodes, 'n1');
  const n2 = await start(t, nodes, 'n2', ['mount']);
  t.is(await code(open(n1, await openRequest())), 'XOS_ROLE');
  t.false(n2.told.some(({ op }) => op === 'session-add'));
});

asRoot('refused: a credential of a foreign VO', async (t) => {
  const { n1 } = await twoNodes(t);
  t.is(await code(open(n1, await openRequest({ vo: await testVo('other') }))), 'XOS_CREDENTIAL');
  t.is(await code(open(n1, await openRequest({ vo: await testVo('demo') }))), 'XOS_CREDENTIAL');
});

asRoot('refused: a proof that is shown twice, also after the session was closed', async (t) => {
  const { n1 } = await twoNodes(t);
  const request = await openRequest();
  t.is(await code(open(n1, request)), 'accepted');
  t.is(await code(open(n1, request)), 'XOS_REPLAY');
  await n1.rpc.client('n2', SessionsDefinition).close({ session: request.session, reason: '', kill: false });
  t.is(await code(open(n1, request)), 'XOS_REPLAY');
});

asRoot('refused: another node with a proof that n1 made, and its wish to close what n1 opened', async (t) => {
  const { nodes, n1, n2 } = await twoNodes(t);
  const n3 = nodes.rpc(await testIdentity(demo, 'n3'));
  t.is(await code(n3.client('n2', SessionsDefinition).open(await openRequest())), 'XOS_PROOF');
  const request = await openRequest();
  await open(n1, request);
  t.is(await code(n3.client('n2', SessionsDefinition).close({ session: request.session, reason: '', kill: true })), 'XOS_DENIED');
  await n3.client('n2', SessionsDefinition).sync({ sessions: [] });
  t.not(n2.parts.table.get(request.session), null);
});

asRoot('refused: everything, while the clock of the target is off by an hour or a day, and the reason is the clock', async (t) => {
  const { n1, n2 } = await twoNodes(t);
  for (const [clock_ms, reason] of [[-3_600_000, 'XOS_CLOCK_OFF'], [-86_400_000, 'XOS_CLOCK_OFF'], [86_400_000, 'XOS_CREDENTIAL_EXPIRED']] as const) {
    n2.clock_ms = clock_ms;
    t.is(await code(open(n1, await openRequest())), reason);
    t.regex(n2.lines.filter((line) => line.includes('was not opened')).at(-1) ?? '', clock_ms < 0 ? /clock/ : /expired/);
  }
  n2.clock_ms = 0;
  await open(n1, await openRequest());
  t.pass('and is well again with its clock');
});

asRoot('refused: everything, once the facts of the VO have expired', async (t) => {
  const { n1, n2 } = await twoNodes(t);
  n2.clock_ms = 3_600_000;
  t.is(await code(open(n1, await openRequest({ credential: { life_ms: 36_000_000 }, proof: { issued_ms: Date.now() + 3_600_000 } }))), 'XOS_FACTS_EXPIRED');
});

asRoot('a revoked member loses its sessions at once, and gets none', async (t) => {
  const { n1, n2 } = await twoNodes(t);
  const request = await openRequest();
  await open(n1, request);
  const closed = new Promise<string>((resolve) => n2.parts.table.onClose((_, reason) => resolve(reason)));
  await facts(n2.parts, 2, [member('alice', 1, 'revoked')], [node('n1'), node('n2')]);
  t.is(await closed, 'membership revoked');
  t.deepEqual(n2.wiped, [uidOf(1, 1)]);
  t.is(await code(open(n1, await openRequest())), 'XOS_REVOKED');
  while (!n2.told.some(({ op, kill }) => op === 'session-remove' && kill === true)) await n2.parts.context.ports.clock.sleep(5);
});

asRoot('sessions of a node that was revoked end', async (t) => {
  const { n1, n2 } = await twoNodes(t);
  await open(n1, await openRequest());
  const closed = new Promise<string>((resolve) => n2.parts.table.onClose((_, reason) => resolve(reason)));
  await facts(n2.parts, 2, [member('alice', 1)], [node('n1', 'revoked'), node('n2')]);
  t.regex(await closed, /'n1' was revoked/);
});

async function login(n1: TestNode): Promise<HeldSession & { own: NonNullable<HeldSession['own']> }> {
  const { pem, key, claims } = await testCredential(demo);
  const { user, uid, groups, roles, session } = claims;
  const own = { credential: pem, key: keyToPem(key), secret: 'ab'.repeat(16), credential_expires_ms: Date.now() + 3_600_000, credential_key: 0, pid_started: null };
  const held = { session, user, vo: 'demo', uid, gid: uid, groups, roles, origin: 'n1', home: '/home/alice', expires_ms: Date.now() + 3_600_000, started_ms: Date.now(), own };
  await n1.parts.table.put(held);
  return held;
}

asRoot('a login reaches the other node at once; after a loss there, by comparing', async (t) => {
  const { n1, n2 } = await twoNodes(t);
  const { signal } = new AbortController();
  const held = await login(n1);
  await n1.parts.spread.openEverywhere(held, signal);
  t.is(n2.parts.table.get(held.session)?.origin, 'n1');
  n2.parts.table.remove(held.session, 'lost');
  await n1.parts.spread.syncAll(signal);
  t.is(n2.parts.table.get(held.session)?.origin, 'n1');
  n1.parts.table.remove(held.session, 'logout that n2 did not hear of');
  await n1.parts.spread.syncAll(signal);
  t.is(n2.parts.table.get(held.session), null);
});

asRoot('a session is renewed with a new key; relay and other node learn the new expiry', async (t) => {
  const { n1, n2 } = await twoNodes(t);
  const held = await login(n1);
  const gate = new ProofGate(`${n1.parts.context.paths.run}/registry-proofs.json`, n1.parts.context.ports);
  n1.rpc.serve(CredentialsDefinition, {
    issue: async () => ({ credential: '', expires_ms: 0, change: false, ssh_certificate: Buffer.alloc(0) }),
    delegate: async () => ({ credential: '', expires_ms: 0, change: false, ssh_certificate: Buffer.alloc(0) }),
    renew: async ({ credential, csr, issued_ms, nonce, signature }) => {
      const { claims, publicKey } = verifyCredential(credential, demo.trust, Date.now());
      await gate.check(publicKey, renewProofBytes({ vo: 'demo', session: claims.session, origin: 'n1', csr, issued_ms, nonce }), signature, { issued_ms, nonce }, Date.now());
      const order = { claims, publicKey: keyOfRequest(csr), serial: newSerial(systemRandom), now_ms: Date.now(), expires_ms: Date.now() + 28_800_000 };
      return { credential: writeCredential({ ...order, issuer: { key: keyFromPem(demo.founding.user_ca_key), certificate: demo.founding.user_ca } }), expires_ms: order.expires_ms, change: false, ssh_certificate: Buffer.alloc(0) };
    },
    changePassword: async () => ({}),
  });
  await renewLogin(n1.parts, held, new AbortController().signal);
  const renewed = n1.parts.table.held(held.session)!;
  t.not(renewed.own?.key, held.own.key);
  t.true(renewed.expires_ms > held.expires_ms);
  t.true(n1.told.some(({ op, session, expires_ms }) => op === 'session-add' && session === held.session && expires_ms === renewed.expires_ms));
  t.is(n2.parts.table.get(held.session)?.expires_ms, renewed.expires_ms);
});

asRoot('sessions are there again after a restart of the table, in a file for root only', async (t) => {
  const { n1 } = await twoNodes(t);
  const held = await login(n1);
  const { context } = n1.parts;
  t.is((await context.ports.disk.facts(`${context.paths.run}/sessions.json`))?.mode, 0o600);
  const again = new SessionTable(`${context.paths.run}/sessions.json`, context.ports);
  await again.load(Date.now());
  t.deepEqual(again.held(held.session), JSON.parse(JSON.stringify(held)));
  const late = new SessionTable(`${context.paths.run}/sessions.json`, context.ports);
  await late.load(held.expires_ms);
  t.deepEqual(late.list(), []);
  t.false(JSON.stringify(again.list()).includes('PRIVATE KEY'));
});

// Real xosd processes on loopback: n1 is the registry, n2 and n3 join. Needs root.
//   n1 (registry, relay) <--- gRPC, mutual TLS ---> n2 (relay), n3 (relay)
import anyTest, { type ExecutionContext } from 'ava';
import { systemDisk } from '../../src/platform/disk.ts';
import { readFile, writeFile } from 'node:fs/promises';
import { X509Certificate } from 'node:crypto';
import { issueNodeCertificate } from '../../src/vo/authority.ts';
import { newSerial } from '../../src/vo/leaf.ts';
import { keyFromPem, publicDer } from '../../src/vo/keys.ts';
import { systemRandom } from '../../src/platform/random.ts';
import { XosError } from '../../src/core/errors.ts';
import { Xosd } from '../support/xosd.ts';

// One after the other: each test has up to four processes of its own.
const test = process.getuid?.() === 0 ? anyTest.serial : anyTest.serial.skip;
if (process.getuid?.() !== 0) console.log('skip xosd processes: needs root');

const password = 'correct horse';
const code = async (work: Promise<unknown>): Promise<string> => await work.then(() => 'accepted', (thrown: unknown) => (thrown as XosError).code);

async function founded(t: ExecutionContext): Promise<Xosd> {
  t.timeout(60_000);
  const n1 = await Xosd.create(t, 'n1', { roles: ['registry', 'relay'] });
  await n1.start();
  await n1.until(({ state }) => state === 'waiting');
  await n1.api('vo-create', { vo: 'demo' });
  await n1.api('member-add', { user: 'alice', roles: ['admin'], password });
  return n1;
}

async function joined(t: ExecutionContext, n1: Xosd, name: string, config: object = {}): Promise<Xosd> {
  const { token } = await n1.api('node-invite', { node: name });
  const node = await Xosd.create(t, name, { join: token, ...config });
  await node.start();
  await node.until(({ state }) => state === 'ready');
  return node;
}

async function loggedIn(node: Xosd, user = 'alice@demo'): Promise<Record<string, string>> {
  const { status, handle = '' } = await node.agent('auth', { user, password, service: 'login' });
  if (status !== 'ok') throw new Error(`no login: ${status}`);
  return await node.agent('open', { user, handle, tty: 'pts/0', pid: String(process.pid) });
}

test('from founding to a login on a node that joined, and out again', async (t) => {
  const n1 = await founded(t);
  const n2 = await joined(t, n1, 'n2');
  const session = await loggedIn(n2);
  t.is(session['status'], 'ok');
  t.is(session['uid'], '1879113729');
  t.is(session['groups'], '1879113729,1879113728');
  t.is(session['home'], `${n2.directory}/home/alice`);
  t.regex(session['secret'] ?? '', /^[0-9a-f]{32}$/);
  t.is(await readFile(`${session['home']}/.profile`, 'utf8'), '# from the skeleton\n');
  await n2.relayHears(({ op, session: id, secret }) => op === 'session-add' && id === session['session'] && secret === session['secret']);
  await n1.relayHears(({ op, session: id, secret }) => op === 'session-add' && id === session['session'] && secret === undefined);
  t.is((await n2.agent('close', { session: session['session']! }))['status'], 'ok');
  for (const node of [n1, n2]) await node.relayHears(({ op, session: id }) => op === 'session-remove' && id === session['session']);
  t.is((await n2.agent('open', { user: 'alice@demo', handle: 'used', tty: '', pid: '1' }))['status'], 'denied');
});

test('a light node logs members in and sends their sessions out, and gets none of another node', async (t) => {
  const n1 = await founded(t);
  const n2 = await joined(t, n1, 'n2', { roles: ['mount'] });
  const elsewhere = await loggedIn(n1);
  const session = await loggedIn(n2);
  await n2.relayHears(({ op, session: id, secret }) => op === 'session-add' && id === session['session'] && secret === session['secret']);
  await n1.relayHears(({ op, session: id, secret }) => op === 'session-add' && id === session['session'] && secret === undefined);
  t.deepEqual(n2.told.filter(({ op, session: id }) => op === 'session-add' && id === elsewhere['session']), []);
  t.deepEqual(n2.told.filter(({ op }) => op === 'peers').map(({ nodes }) => nodes?.map(({ node }) => node)).at(-1), ['n1'], 'it is not among those that run jobs');
});

test('a new member is known on every node at once, by name and number', async (t) => {
  const n1 = await founded(t);
  const n2 = await joined(t, n1, 'n2');
  await n1.api('member-add', { user: 'bob', roles: [], password });
  for (const node of [n1, n2]) {
    while (!(await readFile(`${node.directory}/run/passwd`, 'utf8')).includes('bob@demo:x:1879113730:1879113730:bob:')) await new Promise((resolve) => setTimeout(resolve, 10));
    t.regex(await readFile(`${node.directory}/run/group`, 'utf8'), /^members@demo:x:1879113728:alice@demo,bob@demo\n/);
  }
  t.is((await loggedIn(n2, 'bob@demo'))['uid'], '1879113730');
});

test('every refusal has its own reason in the log and the answer', async (t) => {
  const n1 = await founded(t);
  const auth = async (fields: Record<string, string>): Promise<string> => {
    const { status, reason } = await n1.agent('auth', fields);
    return `${status} ${reason}`;
  };
  t.is(await auth({ user: 'alice@demo', password: 'wrong' }), 'denied XOS_WRONG_PASSWORD');
  t.is(await auth({ user: 'alice@demo' }), 'denied XOS_WRONG_PASSWORD');
  t.is(await auth({ user: 'nobody@demo', password }), 'denied XOS_NO_MEMBER');
  t.is(await auth({ user: 'alice@other', password }), 'denied XOS_VO_UNKNOWN');
  t.is(await auth({ user: 'alice', password }), 'denied XOS_BAD_NAME');
  t.is(await auth({ user: 'ro:ot@demo', password }), 'denied XOS_BAD_NAME');
  t.is(await auth({}), 'denied XOS_MALFORMED');
  t.is((await n1.agent('rm-rf'))['status'], 'denied');
  await n1.api('member-revoke', { user: 'alice' });
  t.is(await auth({ user: 'alice@demo', password }), 'denied XOS_REVOKED');
  t.is((await n1.agent('account', { user: 'alice@demo' }))['reason'], 'XOS_REVOKED');
  for (const reason of ['XOS_WRONG_PASSWORD', 'XOS_NO_MEMBER', 'XOS_VO_UNKNOWN', 'XOS_REVOKED']) t.true(n1.log.includes(`code=${reason}`), reason);
  t.false(n1.log.includes(password));
});

test('too many wrong passwords lock the member, also for the right one', async (t) => {
  const n1 = await founded(t);
  const reasons: string[] = [];
  for (let count = 0; count < 7; count++) reasons.push((await n1.agent('auth', { user: 'alice@demo', password: 'wrong' }))['reason']!);
  t.true(reasons.slice(0, 5).every((reason) => reason === 'XOS_WRONG_PASSWORD'));
  t.true(reasons.includes('XOS_LOCKED'));
});

test('a password can be changed by its owner with the old one', async (t) => {
  const n1 = await founded(t);
  t.is((await n1.agent('password', { user: 'alice@demo', old: 'wrong', new: 'another horse' }))['reason'], 'XOS_WRONG_PASSWORD');
  t.is((await n1.agent('password', { user: 'alice@demo', old: password, new: 'short' }))['reason'], 'XOS_BAD_PASSWORD');
  t.is((await n1.agent('password', { user: 'alice@demo', old: password, new: 'another horse' }))['status'], 'ok');
  t.is((await n1.agent('auth', { user: 'alice@demo', password }))['reason'], 'XOS_WRONG_PASSWORD');
  t.is((await n1.agent('auth', { user: 'alice@demo', password: 'another horse' }))['status'], 'ok');
});

test('revoking a member ends its sessions on all nodes, with their jobs', async (t) => {
  const n1 = await founded(t);
  const n2 = await joined(t, n1, 'n2');
  const { handle = '' } = await n2.agent('auth', { user: 'alice@demo', password });
  const { session } = await n2.agent('open', { user: 'alice@demo', handle, tty: '', pid: '0' });
  await n1.api('member-revoke', { user: 'alice' });
  for (const node of [n1, n2]) await node.relayHears(({ op, session: id, kill }) => op === 'session-remove' && id === session && kill === true);
  t.deepEqual((await n2.api('session-list', {})).sessions, []);
});

test('kill -9 of every xosd loses no session, member or node', async (t) => {
  const n1 = await founded(t);
  const n2 = await joined(t, n1, 'n2');
  const { session } = await loggedIn(n2);
  await n1.relayHears(({ op, session: id }) => op === 'session-add' && id === session);
  for (const node of [n1, n2]) await node.end('SIGKILL');
  for (const node of [n1, n2]) node.told.length = 0;
  for (const node of [n2, n1]) await node.start();
  for (const node of [n1, n2]) {
    await node.until(({ state }) => state === 'ready');
    t.deepEqual((await node.api('session-list', {})).sessions.map(({ session: id, user, origin }) => [id, user, origin]), [[session, 'alice', 'n2']]);
    await node.relayHears(({ op, session: id }) => op === 'session-add' && id === session);
  }
  t.is((await loggedIn(n2))['status'], 'ok');
});

test('without its registry a node goes on: names, sessions, other nodes, and logins of who was here before, by the verifier of this node', async (t) => {
  const n1 = await founded(t);
  const n2 = await joined(t, n1, 'n2');
  const { session } = await loggedIn(n2);
  while ((await systemDisk.facts(`${n2.directory}/state/node/offline.json`)) === null) await new Promise((resolve) => setTimeout(resolve, 20)); // kept behind the answer
  await n1.end('SIGKILL');
  await n2.end('SIGTERM');
  await n2.start();
  await n2.until(({ state, services }) => state === 'degraded' && services.some(({ name, up }) => name === 'registry' && !up));
  t.is((await n2.agent('account', { user: 'alice@demo' }))['status'], 'ok');
  t.is((await n2.agent('auth', { user: 'alice@demo', password: 'wrong' }))['status'], 'denied');
  const offline = await n2.agent('auth', { user: 'alice@demo', password });
  t.is(offline['status'], 'ok');
  const opened = await n2.agent('open', { user: 'alice@demo', handle: offline['handle']!, tty: '', pid: '0' });
  t.like(opened, { status: 'ok', notice: 'offline', credential: undefined });
  await n2.agent('close', { session: opened['session']! });
  t.deepEqual((await n2.api('session-list', {})).sessions.map((each) => each.session), [session]);
  await n1.start();
  await n2.until(({ state }) => state === 'ready');
  t.is((await n2.agent('auth', { user: 'alice@demo', password }))['status'], 'ok');
});

test('a token lets one node in once; a wrong or foreign one nobody', async (t) => {
  const n1 = await founded(t);
  const { token } = await n1.api('node-invite', { node: 'n2' });
  const n2 = await Xosd.create(t, 'n2', { join: token });
  await n2.start();
  await n2.until(({ state }) => state === 'ready');
  const thief = await Xosd.create(t, 'n2', { join: token });
  await thief.start();
  t.regex((await thief.until(({ reason }) => reason !== '')).reason, /token/);
  const other = await Xosd.create(t, 'n3', { join: token });
  await other.start();
  t.regex((await other.until(({ reason }) => reason !== '')).reason, /token is for node 'n2'/);
  const forged = JSON.parse(Buffer.from((await n1.api('node-invite', { node: 'n4' })).token.slice(5), 'base64url').toString()) as object;
  const n4 = await Xosd.create(t, 'n4', { join: `xos1.${Buffer.from(JSON.stringify({ ...forged, root: 'a'.repeat(64) })).toString('base64url')}` });
  await n4.start();
  t.regex((await n4.until(({ reason }) => reason !== '')).reason, /fingerprint/);
  const states = (await n1.api('node-list', {})).nodes.map(({ node, state }) => `${node} ${state}`);
  t.deepEqual(states, ['n1 admitted', 'n2 admitted', 'n4 invited']);
});

test('a revoked node is out: its sessions end, its calls are refused, and it comes back by a new token', async (t) => {
  const n1 = await founded(t);
  const n2 = await joined(t, n1, 'n2');
  const { session } = await loggedIn(n2);
  await n1.relayHears(({ op, session: id }) => op === 'session-add' && id === session);
  await n1.api('node-revoke', { node: 'n2' });
  await n1.relayHears(({ op, session: id, kill }) => op === 'session-remove' && id === session && kill === true);
  while ((await n2.agent('auth', { user: 'alice@demo', password }))['status'] !== 'unavailable') await new Promise((resolve) => setTimeout(resolve, 50));
  while (!n1.log.includes("node 'n2' is a revoked node") && !n1.log.includes("certificate of node 'n2' was revoked")) await new Promise((resolve) => setTimeout(resolve, 50));
  const serial = new X509Certificate(await readFile(`${n2.directory}/state/node/cert.pem`)).serialNumber.toLowerCase();
  const refused = async () => (await readFile(`${n1.directory}/state/node/revoked`, 'utf8')).split('\n');
  while (!(await refused()).includes(serial)) await new Promise((resolve) => setTimeout(resolve, 50)); // what the native daemons go by
  const { token } = await n1.api('node-admit', { node: 'n2' });
  await n2.end('SIGTERM');
  const again = await Xosd.create(t, 'n2', { join: token });
  await again.start();
  await again.until(({ state }) => state === 'ready');
  t.is((await loggedIn(again))['status'], 'ok');
});

test('a login whose process was killed ends by itself', async (t) => {
  const n1 = await founded(t);
  const { spawn } = await import('node:child_process');
  const child = spawn('sleep', ['1000'], { stdio: 'ignore' });
  t.teardown(() => child.kill('SIGKILL'));
  const { handle = '' } = await n1.agent('auth', { user: 'alice@demo', password });
  const { session } = await n1.agent('open', { user: 'alice@demo', handle, tty: '', pid: String(child.pid) });
  child.kill('SIGKILL');
  await n1.relayHears(({ op, session: id }) => op === 'session-remove' && id === session);
  t.pass();
});

test('a damaged cache, identity or configuration is named', async (t) => {
  const n1 = await founded(t);
  const n2 = await joined(t, n1, 'n2');
  await n2.end('SIGTERM');
  await writeFile(`${n2.directory}/state/vo/membership.json`, '{"payload":"AAAA","signature":"AAAA"}');
  await n2.start();
  await n2.until(({ state }) => state === 'ready');
  t.regex(n2.log, /a cached document is not used/);
  await n2.end('SIGTERM');
  await n2.start({ node: 'n3' });
  t.is(await n2.ended(), 1);
  t.regex(n2.log, /this node was 'n2'/);
  await n2.start({ node: 'N 3' });
  t.is(await n2.ended(), 1);
  t.regex(n2.log, /node\.json: cannot use the configuration: 'node'/);
});

/** A certificate for n2's key as the VO's RCA would have issued it some days ago. */
async function agedCertificate(n1: Xosd, n2: Xosd, age_days: number): Promise<string> {
  const { node_ca, node_ca_key } = JSON.parse(await readFile(`${n1.directory}/state/registry/authorities.json`, 'utf8')) as { node_ca: string; node_ca_key: string };
  const key = keyFromPem(await readFile(`${n2.directory}/state/node/key.pem`, 'utf8'));
  const now_ms = Date.now() - age_days * 86_400_000;
  const issuer = { key: keyFromPem(node_ca_key), certificate: node_ca };
  return await issueNodeCertificate({ vo: 'demo', node: 'n2', publicKey: publicDer(key), serial: newSerial(systemRandom), now_ms, expires_ms: now_ms + 30 * 86_400_000, issuer });
}

test('a node renews its certificate from half of its life on; with an expired one it is not served', async (t) => {
  const n1 = await founded(t);
  const n2 = await joined(t, n1, 'n2');
  const file = `${n2.directory}/state/node/cert.pem`;
  await n2.end('SIGTERM');
  await writeFile(file, await agedCertificate(n1, n2, 16));
  const keyBefore = await readFile(`${n2.directory}/state/node/key.pem`, 'utf8');
  await n2.start();
  while (!n2.log.includes('the certificate of this node was renewed')) await new Promise((resolve) => setTimeout(resolve, 50));
  t.true(Date.parse(new X509Certificate(await readFile(file)).validTo) > Date.now() + 29 * 86_400_000);
  t.is(await readFile(`${n2.directory}/state/node/key.pem`, 'utf8'), keyBefore);
  await n2.until(({ state }) => state === 'ready');
  t.is((await loggedIn(n2))['status'], 'ok');
  await n2.end('SIGTERM');
  await writeFile(file, await agedCertificate(n1, n2, 31));
  await n2.start();
  t.regex((await n2.until(({ state }) => state === 'degraded')).reason, /registry/);
  t.is((await n2.agent('auth', { user: 'alice@demo', password }))['status'], 'unavailable');
  while (!/missing, expired, or of another VO/.test(n1.log)) await new Promise((resolve) => setTimeout(resolve, 50));
});

test('a VO is founded once, by root, and the agent speaks with root only', async (t) => {
  const n1 = await founded(t);
  t.is(await code(n1.api('vo-create', { vo: 'other' })), 'XOS_VO_EXISTS');
  t.is(await code(n1.api('member-add', { user: 'alice', roles: [], password })), 'XOS_MEMBER_EXISTS');
  t.is(await code(n1.api('member-add', { user: 'Bad Name', roles: [], password })), 'XOS_BAD_NAME');
  t.is(await code(n1.api('member-add', { user: 'carol', roles: [], password: 'short' })), 'XOS_BAD_PASSWORD');
  t.is(await code(n1.api('nonsense' as never, {} as never)), 'XOS_NO_OPERATION');
  t.is((await n1.api('vo-show', {})).members, 1);
});

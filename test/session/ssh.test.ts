// The ssh agent of a session, over its real socket, and who gets a credential by it. Needs root (SO_PEERCRED is asked of a real socket).
import test, { type ExecutionContext } from 'ava';
import { connect } from 'node:net';
import { mkdtemp, rm } from 'node:fs/promises';
import type { NodeContext } from '../../src/daemon/context.ts';
import { systemPorts } from '../../src/platform/ports.ts';
import { noManager } from '../../src/platform/service-manager.ts';
import { SessionTable, SshAgents } from '../../src/session/index.ts';
import { frame, message, readLoginStatement } from '../../src/session/ssh/protocol.ts';
import type { OwnSession } from '../../src/session/table.ts';
import { keyFromPem, keyToPem, newKey, publicDer, verifyBytes } from '../../src/vo/keys.ts';
import { sessionProofBytes } from '../../src/vo/proof.ts';
import { issueSshCertificate, ssh_certificate_type, sshKeyBlob, sshString, SshReader } from '../../src/vo/ssh.ts';
import { testVo } from '../vo/authority.ts';
import { keptLog } from '../support/ports.ts';

const demo = await testVo();
const own_uid = process.getuid!();
const asRoot = own_uid === 0 ? test : test.skip;
if (own_uid !== 0) console.log('skip ssh agents: needs root');
const session = 'ab'.repeat(16);

interface Made {
  readonly agents: SshAgents;
  readonly held: OwnSession;
  readonly certificate: Buffer;
  readonly lines: string[];
  ask(request: Buffer): Promise<Buffer>;
}

async function agentOf(t: ExecutionContext, uid = own_uid): Promise<Made> {
  const directory = await mkdtemp('/tmp/xos-agent-');
  const { log, lines } = keptLog();
  const ports = systemPorts(log, noManager);
  const context = { node: 'n1', vo: 'demo', paths: { run: directory }, ports } as unknown as NodeContext;
  const table = new SessionTable(`${directory}/sessions.json`, ports);
  const key = newKey();
  const certificate = issueSshCertificate({
    kind: 'user', publicKey: publicDer(key), serial: Buffer.alloc(8, 1), nonce: Buffer.alloc(32), key_id: 'x', principals: ['alice@demo'], not_before_ms: 0, expires_ms: Date.now() + 3_600_000,
    session: `${session} n1`, authority: keyFromPem(demo.founding.user_ca_key),
  });
  const own = { credential: 'PEM', key: keyToPem(key), ssh: certificate.toString('base64'), secret: '', credential_expires_ms: 9e12, credential_key: 0, pid_started: null };
  const held: OwnSession = { session, user: 'alice', vo: 'demo', uid, gid: uid, groups: [], roles: [], origin: 'n1', home: '/', expires_ms: 9e12, started_ms: 0, own };
  await table.put(held);
  const agents = new SshAgents(context, demo.trust, table);
  await agents.prepare();
  await agents.open(held);
  t.teardown(async () => {
    await agents.closeAll();
    await rm(directory, { recursive: true, force: true });
  });
  const ask = (request: Buffer): Promise<Buffer> => new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    const socket = connect({ path: agents.path(session), allowHalfOpen: true });
    socket.on('data', (part: Buffer) => parts.push(part)).on('end', () => (socket.end(), resolve(Buffer.concat(parts)))).on('error', () => resolve(Buffer.alloc(0)));
    socket.setTimeout(10_000, () => reject(new Error('no answer')));
    socket.end(request);
  });
  return { agents, held, certificate, lines, ask };
}

const hostOf = (node: string, authority = demo.founding.node_ca_key, principals = [node]): Buffer => issueSshCertificate({
  kind: 'host', publicKey: Buffer.alloc(32, 5), serial: Buffer.alloc(8, 2), nonce: Buffer.alloc(32), key_id: `xos://demo/node/${node}`, principals, not_before_ms: 0, expires_ms: Date.now() + 3_600_000, session: null, authority: keyFromPem(authority),
});
const statement = (certificate: Buffer, change: { user?: string; service?: string; host?: Buffer } = {}): Buffer => Buffer.concat([
  sshString(Buffer.alloc(32, 3)), Buffer.from([50]), sshString(change.user ?? 'alice@demo'), sshString(change.service ?? 'ssh-connection'),
  sshString(change.host === undefined ? 'publickey' : 'publickey-hostbound-v00@openssh.com'), Buffer.from([1]), sshString(ssh_certificate_type), sshString(certificate),
  ...(change.host === undefined ? [] : [sshString(change.host)]),
]);
const signRequest = (key: Buffer, data: Buffer): Buffer => frame(message.signRequest, sshString(key), sshString(data), Buffer.alloc(4));

asRoot('a login is signed with the key of the credential, and the node it goes to is remembered for one visit', async (t) => {
  const { agents, held, certificate, ask } = await agentOf(t);
  t.true((await ask(frame(message.requestIdentities))).includes(certificate));
  const data = statement(certificate, { host: hostOf('n2') });
  const answer = new SshReader(await ask(signRequest(certificate, data)));
  const body = new SshReader(answer.string());
  t.is(body.byte(), message.signature);
  const signature = new SshReader(body.string());
  t.is(signature.text(), 'ssh-ed25519');
  t.true(verifyBytes(keyFromPem(held.own.key), data, signature.string()));
  t.false(agents.takeVisit(session, 'n3', Date.now()), 'not to another node');
  t.false(agents.takeVisit('cd'.repeat(16), 'n2', Date.now()), 'not for another session');
  t.true(agents.takeVisit(session, 'n2', Date.now()));
  t.false(agents.takeVisit(session, 'n2', Date.now()), 'once');
  await ask(signRequest(certificate, data));
  t.false(agents.takeVisit(session, 'n2', Date.now() + 120_000), 'and soon');
});

asRoot('nothing else is signed: no proof of the session, no other key, user or service', async (t) => {
  const { agents, certificate, lines, ask } = await agentOf(t);
  const proof = sessionProofBytes({ vo: 'demo', session, origin: 'n1', target: 'n2', expires_ms: 1, issued_ms: 1, nonce: Buffer.alloc(16) });
  const good = statement(certificate);
  const wrong: readonly (readonly [string, Buffer])[] = [
    ['a proof', signRequest(certificate, proof)], ['nothing', signRequest(certificate, Buffer.alloc(0))], ['64 KiB', signRequest(certificate, Buffer.alloc(60_000, 50))],
    ['another user', signRequest(certificate, statement(certificate, { user: 'bob@demo' }))], ['another service', signRequest(certificate, statement(certificate, { service: 'ssh-userauth' }))],
    ['a plain key', signRequest(sshKeyBlob(publicDer(newKey())), good)], ['a statement by another certificate', signRequest(certificate, statement(hostOf('n2')))],
    ['something behind it', signRequest(certificate, Buffer.concat([good, Buffer.from([0])]))], ['cut', signRequest(certificate, good.subarray(0, -1))],
  ];
  for (const [what, request] of wrong) t.is((await ask(request))[4], message.failure, what);
  t.true(lines.some((line) => line.includes('did not sign')));
  t.false(agents.takeVisit(session, 'n2', Date.now()));
});

asRoot('a host that cannot prove that it is a node gets no visit', async (t) => {
  const { agents, certificate, ask } = await agentOf(t);
  const forged = newKey();
  for (const host of [hostOf('n2', keyToPem(forged)), hostOf('n2', demo.founding.node_ca_key, ['n3']), sshKeyBlob(publicDer(forged)), Buffer.alloc(0), hostOf('n2').subarray(0, 100)]) {
    await ask(signRequest(certificate, statement(certificate, { host })));
    t.false(agents.takeVisit(session, 'n2', Date.now()));
  }
});

asRoot("another user's process is turned away, and a closed session has no agent", async (t) => {
  const foreign = await agentOf(t, 1_879_113_729);
  t.deepEqual(await foreign.ask(frame(message.requestIdentities)), Buffer.alloc(0));
  t.true(foreign.lines.some((line) => line.includes('was refused')));
  const { agents, certificate, ask } = await agentOf(t);
  await ask(signRequest(certificate, statement(certificate, { host: hostOf('n2') })));
  await agents.close(session);
  t.deepEqual(await ask(frame(message.requestIdentities)), Buffer.alloc(0));
  t.false(agents.takeVisit(session, 'n2', Date.now()));
});

test('what is no login of RFC 4252 is read as none', (t) => {
  t.is(readLoginStatement(Buffer.alloc(0)), null);
  for (let size = 0; size < 200; size++) t.is(readLoginStatement(Buffer.alloc(size, size)), null);
});

// A registry with CDA and RCA on n1, asked by n2 over real gRPC; the log is in memory, the clock can be moved.
import test, { type ExecutionContext } from 'ava';
import { createPublicKey, scryptSync, X509Certificate, type KeyObject } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { XosError } from '../../src/core/errors.ts';
import { MemoryLog, memoryStore, type MemoryStore } from '../../src/group/index.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { systemDisk } from '../../src/platform/disk.ts';
import { systemRandom } from '../../src/platform/random.ts';
import type { NodeRpc } from '../../src/platform/rpc.ts';
import { ResourcesDefinition } from '../../src/proto/xos/admission/v1/admission.ts';
import { CredentialsDefinition } from '../../src/proto/xos/credential/v1/credential.ts';
import { RegistryDefinition } from '../../src/proto/xos/registry/v1/registry.ts';
import { verifyCredential } from '../../src/vo/credential.ts';
import { verifyDocument } from '../../src/vo/document.ts';
import { certificateRequest, keyToPem, newKey, signBytes } from '../../src/vo/keys.ts';
import { administer } from '../../src/vo/ops/administer.ts';
import { joinNode } from '../../src/vo/ops/join-node.ts';
import { adminProofBytes, renewProofBytes } from '../../src/vo/proof.ts';
import { Registry } from '../../src/vo/registry.ts';
import { serveRegistry } from '../../src/vo/service.ts';
import { decodeToken } from '../../src/vo/token.ts';
import { chainOf, fingerprint, verifyTrust } from '../../src/vo/trust.ts';
import { TestNodes } from '../support/nodes.ts';
import { quietLog } from '../support/ports.ts';

const root = { user: null, admin: true, node: 'n1' };
const password = 'correct horse';
const session = 'ab'.repeat(16);
const place = (node: string): { node: string; address: string; port: number; roles: readonly ['relay'] } => ({ node, address: '127.0.0.1', port: 7001, roles: ['relay'] });
const code = async (work: Promise<unknown>): Promise<string> => await work.then(() => 'accepted', (thrown: unknown) => (thrown as XosError).code);

interface Vo {
  readonly registry: Registry;
  readonly n2: NodeRpc;
  readonly store: MemoryStore;
  readonly directory: string;
  offset_ms: number;
}

async function founded(t: ExecutionContext): Promise<Vo> {
  const directory = await mkdtemp('/tmp/xos-registry-');
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const store = memoryStore();
  const made = { offset_ms: 0 } as { offset_ms: number };
  const clock = { ...systemClock, now_ms: () => Date.now() + made.offset_ms };
  const registry = new Registry(directory, new MemoryLog(store), { clock, random: systemRandom, disk: systemDisk, log: quietLog });
  await registry.start();
  const { identity } = await registry.found('demo', 1, place('n1'));
  await administer(registry, 'member-add', { user: 'alice', roles: ['admin'], password }, root);
  await administer(registry, 'member-add', { user: 'bob', roles: [], password }, root);
  const nodes = new TestNodes(t);
  nodes.refuse = (peer) => registry.refuseNode(peer);
  const tls = (node: string, key: string, certificate: string): { vo: string; node: string; key: string; chain: string; ca: string } => ({ vo: 'demo', node, key, chain: certificate + chainOf(registry.trust()), ca: registry.trust().node_ca });
  const n1 = nodes.rpc(tls('n1', identity.key, identity.certificate));
  serveRegistry(n1, registry);
  await nodes.listen(n1, 'n1');
  const { token } = await administer(registry, 'node-invite', { node: 'n2' }, root);
  const key = newKey();
  const { certificate } = await joinNode(registry, { ...place('n2'), roles: ['relay'], secret: Buffer.from(decodeToken(token).secret, 'hex'), csr: certificateRequest(key, 'n2') });
  return Object.assign(made, { registry, n2: nodes.rpc(tls('n2', keyToPem(key), certificate)), store, directory });
}

async function credential(vo: Vo, user: string): Promise<{ pem: string; key: KeyObject }> {
  const key = newKey();
  const request = { user, password, csr: certificateRequest(key, user), session, service: 'login', tty: '', rhost: '' };
  return { pem: (await vo.n2.client('n1', CredentialsDefinition).issue(request)).credential, key };
}

const moment = (): { issued_ms: number; nonce: Buffer } => ({ issued_ms: Date.now(), nonce: systemRandom.bytes(16) });

test('a credential says who the member is, for 8 hours, for the key of the request', async (t) => {
  const vo = await founded(t);
  const { pem, key } = await credential(vo, 'alice');
  const read = verifyCredential(pem, vo.registry.trust(), Date.now());
  t.deepEqual(read.claims, { vo: 'demo', number: 1, user: 'alice', uid: 1_879_113_729, groups: [1_879_113_729, 1_879_113_728], roles: ['admin'], session });
  t.true(new X509Certificate(pem).checkPrivateKey(key));
  t.true(Math.abs(read.expires_ms - read.not_before_ms - (8 * 3_600_000 + 60_000)) <= 1_000);
});

test('a verifier of before is replaced at the next login, and neither age nor history of the password changes', async (t) => {
  const vo = await founded(t);
  const salt = Buffer.alloc(16, 5);
  const verifier = `scrypt$14$8$1$${salt.toString('base64url')}$${scryptSync(password, salt, 32, { N: 2 ** 14, r: 8, p: 1, maxmem: 2 ** 26 }).toString('base64url')}`;
  await vo.registry.propose({ kind: 'member-password', user: 'alice', verifier, at_ms: Date.now() });
  const before = vo.registry.require().members['alice']!;
  await credential(vo, 'alice');
  while (vo.registry.require().members['alice']!.verifier === verifier) await systemClock.sleep(5);
  const { verifier: made, ...rest } = vo.registry.require().members['alice']!;
  t.regex(made, /^\$y\$j9T\$/);
  t.deepEqual({ ...rest, verifier }, before);
  await credential(vo, 'alice');
  // Changed meanwhile: what was made of the old password is not put in the new one's place.
  await vo.registry.propose({ kind: 'member-rehash', user: 'alice', before: verifier, verifier: 'late' });
  t.is(vo.registry.require().members['alice']!.verifier, made);
});

test('renewal: by a proof of the key of a credential that is still good, once', async (t) => {
  const vo = await founded(t);
  const { pem, key } = await credential(vo, 'alice');
  const fresh = newKey();
  const csr = certificateRequest(fresh, 'alice');
  const request = (signer: KeyObject, change: { origin?: string } = {}) => {
    const at = moment();
    return { credential: pem, csr, ...at, signature: signBytes(signer, renewProofBytes({ vo: 'demo', session, origin: change.origin ?? 'n2', csr, ...at })) };
  };
  const renew = vo.n2.client('n1', CredentialsDefinition).renew;
  const good = request(key);
  const renewed = verifyCredential((await renew(good)).credential, vo.registry.trust(), Date.now());
  t.is(renewed.claims.session, session);
  t.true(renewed.publicKey.equals(createPublicKey(keyToPem(fresh))));
  t.is(await code(renew(good)), 'XOS_REPLAY');
  t.is(await code(renew(request(fresh))), 'XOS_PROOF');
  t.is(await code(renew(request(key, { origin: 'n3' }))), 'XOS_PROOF');
  vo.offset_ms = 9 * 3_600_000;
  t.is(await code(renew(request(key))), 'XOS_CREDENTIAL_EXPIRED');
  vo.offset_ms = 0;
  await administer(vo.registry, 'member-remove', { user: 'alice' }, root);
  await administer(vo.registry, 'member-add', { user: 'alice', roles: [], password }, root);
  t.is(await code(renew(request(key))), 'XOS_REVOKED', 'a new member of the same name is somebody else');
});

test('administration from another node: by the proof of an admin, for that request alone', async (t) => {
  const vo = await founded(t);
  const ask = async (user: string, operation: string, fields: object, change: { operation?: string; fields?: object } = {}): Promise<string> => {
    const { pem, key } = await credential(vo, user);
    const at = moment();
    const bytes = Buffer.from(JSON.stringify(fields));
    const signature = signBytes(key, adminProofBytes({ vo: 'demo', origin: 'n2', operation: change.operation ?? operation, request: change.fields === undefined ? bytes : Buffer.from(JSON.stringify(change.fields)), ...at }));
    return await code(vo.n2.client('n1', RegistryDefinition).admin({ operation, request: bytes, authorization: { credential: pem, ...at, signature } }));
  };
  t.is(await ask('alice', 'member-add', { user: 'carol', roles: [], password }), 'accepted');
  t.is(await ask('alice', 'member-list', {}), 'accepted');
  t.is(await ask('bob', 'member-list', {}), 'accepted');
  t.is(await ask('bob', 'member-add', { user: 'dave', roles: [], password }), 'XOS_DENIED');
  t.is(await ask('bob', 'member-password', { user: 'alice', password: 'hijacked!' }), 'XOS_DENIED');
  t.is(await ask('bob', 'member-password', { user: 'bob', old: 'wrong', password: 'another horse' }), 'XOS_WRONG_PASSWORD');
  t.is(await ask('alice', 'member-add', { user: 'eve', roles: ['admin'], password }, { fields: { user: 'eve', roles: [], password } }), 'XOS_PROOF');
  t.is(await ask('alice', 'member-remove', { user: 'bob' }, { operation: 'member-list' }), 'XOS_PROOF');
  t.is(await ask('alice', 'vo-create', {}), 'XOS_NO_OPERATION');
  t.is(await ask('alice', 'constructor', {}), 'XOS_NO_OPERATION');
  t.is(await ask('alice', 'member-roles', { user: 'alice', roles: [] }), 'accepted');
  t.is(await ask('alice', 'member-remove', { user: 'bob' }), 'XOS_DENIED', 'the role went, whatever the credential says');
  const none = { operation: 'member-add', request: Buffer.from('{}'), authorization: undefined };
  t.is(await code(vo.n2.client('n1', RegistryDefinition).admin(none)), 'XOS_DENIED');
});

test('watching: all at once, then each change, and nothing that is held already', async (t) => {
  const vo = await founded(t);
  const stop = new AbortController();
  const request = { membership_version: 0, revocation_version: 0, address: '127.0.0.1', port: 7555, roles: ['relay', 'osd'] };
  const seen: { version: number; members: number; port: number }[] = [];
  const stream = vo.n2.client('n1', RegistryDefinition).watch(request, { deadline_ms: 0, signal: stop.signal });
  await t.throwsAsync(async () => {
    for await (const { membership, revocation } of stream) {
      if (membership === undefined) continue;
      const document = verifyDocument(membership, 'membership', vo.registry.trust(), seen.at(-1)?.version ?? 0);
      seen.push({ version: document.version, members: document.members.length, port: document.nodes.find(({ node }) => node === 'n2')!.port });
      if (seen.length === 1) {
        t.not(revocation, undefined);
        await administer(vo.registry, 'member-add', { user: 'carol', roles: [], password }, root);
      } else stop.abort();
    }
  });
  t.is(seen.length, 2);
  t.deepEqual(seen.map(({ members }) => members), [2, 3]);
  t.is(seen[0]?.port, 7_555, 'the registry notes where the node is now');
  const { membership_version, revocation_version } = vo.registry.vo!;
  for await (const documents of vo.n2.client('n1', RegistryDefinition).watch({ ...request, membership_version, revocation_version })) {
    t.deepEqual(documents, { membership: undefined, revocation: undefined });
    break;
  }
});

test('documents are signed anew long before they expire, with the same version', async (t) => {
  const vo = await founded(t);
  const read = (): { version: number; expires_ms: number } => verifyDocument(vo.registry.documents().membership, 'membership', vo.registry.trust(), 0);
  const first = read();
  vo.offset_ms = 3 * 24 * 3_600_000;
  const second = read();
  t.is(second.version, first.version);
  t.true(second.expires_ms > first.expires_ms);
});

test('a node renews its certificate by the one it has; the old one is void too when it is revoked', async (t) => {
  const vo = await founded(t);
  const key = newKey();
  const renew = (): Promise<unknown> => vo.n2.client('n1', ResourcesDefinition).renew({ csr: certificateRequest(key, 'ignored') });
  const answer = (await renew()) as { certificate: string };
  t.regex(new X509Certificate(answer.certificate).subjectAltName ?? '', /URI:xos:\/\/demo\/node\/n2, DNS:n2\.demo\.xos, DNS:xos-node/);
  t.is(vo.registry.vo!.nodes['n2']?.certificates.length, 2);
  await administer(vo.registry, 'node-revoke', { node: 'n2' }, root);
  t.is(vo.registry.vo!.revoked_nodes.length, 2);
  t.is(await code(renew()), 'XOS_NOT_ADMITTED');
});

test('a restarted registry is the same one; without its keys it says so', async (t) => {
  const vo = await founded(t);
  await vo.registry.stop();
  const ports = { clock: systemClock, random: systemRandom, disk: systemDisk, log: quietLog };
  const again = new Registry(vo.directory, new MemoryLog(vo.store), ports);
  await again.start();
  t.deepEqual(again.vo, vo.registry.vo);
  t.is(fingerprint(verifyTrust(again.trust(), again.rootFingerprint()).root), vo.registry.rootFingerprint());
  t.is(await code(again.found('other', 1, place('n1'))), 'XOS_VO_EXISTS');
  t.is((await systemDisk.facts(`${vo.directory}/demo-root-key.pem`))?.mode, 0o600);
  t.is((await systemDisk.facts(`${vo.directory}/authorities.json`))?.mode, 0o600);
  t.false((await systemDisk.read(`${vo.directory}/authorities.json`))!.toString().includes('root_key'));
  await systemDisk.remove(`${vo.directory}/authorities.json`);
  await again.stop();
  t.is(await code(new Registry(vo.directory, new MemoryLog(vo.store), ports).start()), 'XOS_REGISTRY');
});

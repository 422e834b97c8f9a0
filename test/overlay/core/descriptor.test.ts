// Descriptors as peers send them: real keys and certificates of a VO, and everything that must be refused.
import { X509Certificate, sign as signWith, type KeyObject } from 'node:crypto';
import test from 'ava';
import { Book, CertificateVerifier, KnownPeers, Metrics, Random, encodeDescriptor, limits, type Descriptor } from '../../../src/overlay/core/index.ts';
import { decodeDescriptor } from '../../../src/overlay/core/descriptor.ts';
import { WireError } from '../../../src/overlay/core/wire.ts';
import { descriptor_bytes } from '../../../src/overlay/membership/index.ts';
import { issueNodeCertificate } from '../../../src/vo/authority.ts';
import { newSerial } from '../../../src/vo/leaf.ts';
import { keyFromPem, newKey, publicDer } from '../../../src/vo/keys.ts';
import { systemRandom } from '../../../src/platform/random.ts';
import { testVo, type TestVo } from '../../vo/authority.ts';

const now_ms = Date.now();

interface TestNode {
  readonly key: KeyObject;
  readonly certificate: Buffer;
}

async function testNode(vo: TestVo, node: string): Promise<TestNode> {
  const key = newKey();
  const pem = await issueNodeCertificate({
    vo: 'demo', node, publicKey: publicDer(key), serial: newSerial(systemRandom), now_ms, expires_ms: now_ms + 3_600_000,
    issuer: { key: keyFromPem(vo.founding.node_ca_key), certificate: vo.founding.node_ca },
  });
  return { key, certificate: new X509Certificate(pem).raw };
}

const describe = (node: string, { certificate }: TestNode, change: Partial<Descriptor> = {}): Descriptor => ({
  node, vos: ['demo'], addresses: ['10.0.0.7:7005'], sites: ['berlin'], epoch: now_ms,
  attributes: {
    cores: 8, memory: 34_359_738_368, disk: 1e12, arch: 'x86_64', model: 'AMD EPYC 7B13', os: 'Debian GNU/Linux', os_version: '13', kernel: '6.12.48', ghz: 2.45, gpus: 0, roles: ['osd', 'registry'],
  },
  coordinates: { x: 1.5, y: -2, height: 0.5, error: 0.25 }, certificate, ...change,
});

const signed = (descriptor: Descriptor, { key }: TestNode): Uint8Array => encodeDescriptor(descriptor, (bytes) => signWith(null, bytes, key));

async function setup(): Promise<{ vo: TestVo; n1: TestNode; n2: TestNode; known: KnownPeers; metrics: Metrics; revoked: Set<string>; clock: { now_ms: number } }> {
  const vo = await testVo('demo', 1, now_ms);
  const [n1, n2] = [await testNode(vo, 'n1'), await testNode(vo, 'n2')];
  const metrics = new Metrics();
  const revoked = new Set<string>();
  const clock = { now_ms };
  const verifier = new CertificateVerifier({ vo: 'demo', node_ca: vo.founding.node_ca, admitted: (node) => !revoked.has(node), now_ms: () => now_ms });
  const known = new KnownPeers(new Book({ capacity: 4 }), verifier, metrics, () => clock.now_ms);
  known.setOwn(signed(describe('n1', n1), n1));
  return { vo, n1, n2, known, metrics, revoked, clock };
}

test('a signed descriptor is believed, kept, and gives the book its attributes', async (t) => {
  const { known, n2 } = await setup();
  const peer = known.admit(signed(describe('n2', n2), n2));
  t.is(peer, 1);
  t.is(known.find('n2'), 1);
  t.is(known.book.value(peer, known.book.find('memory')), 34_359_738_368);
  t.deepEqual(known.descriptor(peer)?.sites, ['berlin']);
});

test("the simulator's size of a descriptor is right within a fifth", async (t) => {
  const { n2 } = await setup();
  const { length } = signed(describe('n2', n2), n2);
  t.true(Math.abs(length - descriptor_bytes) < descriptor_bytes / 5, `${length} bytes`);
});

test('an older or the same epoch changes nothing and is counted, a newer one replaces', async (t) => {
  const { known, n2, metrics } = await setup();
  const peer = known.admit(signed(describe('n2', n2), n2));
  t.is(known.admit(signed(describe('n2', n2, { epoch: now_ms - 1, attributes: { cores: 64 } }), n2)), peer);
  t.is(metrics.get('rejected.stale'), 1);
  t.is(known.book.value(peer, known.book.find('cores')), 8);
  t.is(known.admit(signed(describe('n2', n2, { epoch: now_ms + 1, attributes: { cores: 16 } }), n2)), peer);
  t.is(known.book.value(peer, known.book.find('cores')), 16);
  t.true(Number.isNaN(known.book.value(peer, known.book.find('memory'))), 'what is not said any more is gone');
});

test('forged, foreign, expired and revoked ones are refused and counted', async (t) => {
  const { known, n1, n2, metrics, revoked } = await setup();
  const other = await testVo('demo', 1, now_ms);
  const stranger = await testNode(other, 'n3');
  const bytes = Buffer.from(signed(describe('n2', n2), n2));
  const changed = Buffer.from(bytes);
  changed[changed.indexOf('berlin')] = 'B'.charCodeAt(0);
  t.is(known.admit(changed), -1);
  t.is(known.admit(signed(describe('n2', n2), n1)), -1, 'signed by another node');
  t.is(known.admit(signed(describe('n4', n2), n2)), -1, 'a certificate of another name');
  t.is(known.admit(signed(describe('n3', stranger), stranger)), -1, 'a CA of the same name');
  t.is(known.admit(signed(describe('n1', n1, { epoch: now_ms + 5 }), n1)), -1, 'nobody speaks for us but we');
  t.is(metrics.get('rejected.forged'), 5);
  t.is(known.admit(signed(describe('n2', n2, { vos: ['physics'] }), n2)), -1);
  revoked.add('n2');
  t.is(known.admit(bytes), -1);
  t.is(metrics.get('rejected.not_admitted'), 2);
  revoked.clear();
  t.is(known.admit(signed(describe('n2', n2, { epoch: now_ms - limits.descriptor_life_ms - 1 }), n2)), -1);
  t.is(metrics.get('rejected.expired'), 1);
  t.is(known.admit(signed(describe('n2', n2, { epoch: now_ms + limits.clock_ahead_ms + 1 }), n2)), -1);
  t.is(metrics.get('rejected.future'), 1);
  t.is(known.size, 1);
});

test('names of attributes that nobody bears any more make room for new ones; too many at once are counted, and keep nobody from being known', async (t) => {
  const { vo, known, n2, metrics, clock } = await setup();
  const key = known.book.column('cores');
  const fill = (round: number): Record<string, number> => Object.fromEntries(Array.from({ length: limits.attributes_max }, (_, i) => [`made_up_${round}_${i}`, 1]));
  let epoch = now_ms;
  for (let round = 0; round <= 2 * (limits.columns_max / limits.attributes_max); round++) t.is(known.admit(signed(describe('n2', n2, { epoch: ++epoch, attributes: fill(round) }), n2)), 1);
  t.true(metrics.get('rejected.attribute_names') > 0);
  clock.now_ms += limits.columns_release_ms;
  const n3 = await testNode(vo, 'n3');
  const peer = known.admit(signed(describe('n3', n3, { attributes: { cores: 4, rack: 42 } }), n3));
  t.is(known.book.find('cores'), key, "a key's column stays");
  t.is(known.book.value(peer, known.book.find('rack')), 42, 'what is new in the grid can be asked for');
});

test('a full book refuses, and takes the place of whom no protocol holds', async (t) => {
  const { vo, known, metrics } = await setup();
  const held: number[] = [];
  known.marks = (mark) => held.forEach(mark);
  for (const name of ['n2', 'n3', 'n4']) {
    const node = await testNode(vo, name);
    held.push(known.admit(signed(describe(name, node), node)));
  }
  t.deepEqual(held, [1, 2, 3]);
  const n5 = await testNode(vo, 'n5');
  t.is(known.admit(signed(describe('n5', n5), n5)), -1);
  t.is(metrics.get('rejected.full'), 1);
  held.splice(1, 1);
  t.is(known.admit(signed(describe('n5', n5), n5)), 2);
  t.is(known.find('n3'), -1);
});

test('bytes cut short, added to or changed are refused, and do nothing else', async (t) => {
  const { known, n2 } = await setup();
  const bytes = Buffer.from(signed(describe('n2', n2), n2));
  for (let length = 0; length < bytes.length; length++) t.is(known.admit(bytes.subarray(0, length)), -1);
  t.is(known.admit(Buffer.concat([bytes, Buffer.from([0])])), -1);
  t.is(known.admit(Buffer.alloc(limits.descriptor_bytes_max + 1)), -1);
  const random = new Random(11);
  for (let round = 0; round < 2_000; round++) {
    const changed = Buffer.from(bytes);
    changed[random.below(changed.length)]! ^= 1 << random.below(8);
    t.is(known.admit(changed), -1, changed.toString('hex'));
  }
  t.is(known.size, 1);
});

test('bounds: the largest lists are taken, one more is not', async (t) => {
  const { n2 } = await setup();
  const texts = (count: number): string[] => Array.from({ length: count }, (_, i) => `a${i}`);
  t.notThrows(() => signed(describe('n2', n2, { sites: texts(limits.sites_max), addresses: texts(limits.addresses_max) }), n2));
  t.throws(() => signed(describe('n2', n2, { sites: texts(limits.sites_max + 1) }), n2), { instanceOf: WireError });
  t.throws(() => signed(describe('n2', n2, { attributes: Object.fromEntries(texts(limits.attributes_max + 1).map((name) => [name, 1])) }), n2), { instanceOf: WireError });
  t.throws(() => signed(describe('n2', n2, { attributes: { 'Not a name': 1 } }), n2), { instanceOf: WireError });
  t.throws(() => signed(describe('n2', n2, { attributes: { cores: Number.NaN } }), n2), { instanceOf: WireError });
  t.throws(() => decodeDescriptor(new Uint8Array(10)), { instanceOf: WireError });
});

// Two nodes and whoever else sends datagrams to them; the wire is a list, the certificates are real.
import test from 'ava';
import { sign, X509Certificate, type KeyObject } from 'node:crypto';
import { Book, CertificateVerifier, KnownPeers, Metrics, encodeDescriptor, limits as core } from '../../../src/overlay/core/index.ts';
import { limits } from '../../../src/overlay/service/limits.ts';
import { newOwnKey, type OwnKey } from '../../../src/overlay/service/session.ts';
import { Transport, key_attribute, split } from '../../../src/overlay/service/transport.ts';
import { issueNodeCertificate } from '../../../src/vo/authority.ts';
import { newSerial } from '../../../src/vo/leaf.ts';
import { systemRandom } from '../../../src/platform/random.ts';
import { keyFromPem, newKey, publicDer } from '../../../src/vo/keys.ts';
import { testVo, type TestVo } from '../../vo/authority.ts';

interface Sent { readonly bytes: Buffer; readonly from: Node; readonly port: number }
interface Node { readonly name: string; readonly port: number; readonly transport: Transport; readonly known: KnownPeers; readonly metrics: Metrics; readonly frames: string[]; readonly key: OwnKey; readonly descriptor: Uint8Array }

class Wire {
  readonly vo: TestVo;
  readonly nodes: Node[] = [];
  now = 1_000;
  readonly sent: Sent[] = [];

  constructor(vo: TestVo) { this.vo = vo; }

  async node(name: string, port: number, options: { epoch?: number; long?: KeyObject } = {}): Promise<Node> {
    const long = options.long ?? newKey();
    const issuer = { key: keyFromPem(this.vo.founding.node_ca_key), certificate: this.vo.founding.node_ca };
    const certificate = await issueNodeCertificate({ vo: 'demo', node: name, publicKey: publicDer(long), serial: newSerial(systemRandom), now_ms: Date.now(), expires_ms: Date.now() + 3_600_000, issuer });
    const metrics = new Metrics();
    const known = new KnownPeers(new Book({ capacity: 64 }), new CertificateVerifier({ vo: 'demo', node_ca: this.vo.founding.node_ca, admitted: () => true, now_ms: () => Date.now() }), metrics, () => Date.now());
    const key = newOwnKey();
    const descriptor = encodeDescriptor({ node: name, vos: ['demo'], addresses: [`10.0.0.1:${port}`], sites: [], epoch: options.epoch ?? Date.now(), attributes: { [key_attribute]: key.name }, coordinates: { x: 0, y: 0, height: 0, error: 1 }, certificate: new X509Certificate(certificate).raw }, (bytes) => sign(null, bytes, long));
    known.setOwn(descriptor);
    const frames: string[] = [];
    const transport: Transport = new Transport({ key, known, metrics, now_ms: () => this.now, receive: (from, frame) => void frames.push(`${from}: ${frame.toString()}`), introduced: () => {} });
    const node: Node = { name, port, transport, known, metrics, frames, key, descriptor };
    transport.introduceAs(descriptor);
    transport.use({ port, send: (bytes, _address, to) => void this.sent.push({ bytes: Buffer.from(bytes), from: node, port: to }), close: async () => {} });
    this.nodes.push(node);
    return node;
  }

  /** Delivers all that is under way, and what that leads to. Returns what was delivered. */
  flow(drop: (sent: Sent) => boolean = () => false): Sent[] {
    const delivered: Sent[] = [];
    for (let sent = this.sent.shift(); sent !== undefined && delivered.length < 1_000; sent = this.sent.shift()) {
      if (drop(sent)) continue;
      delivered.push(sent);
      this.nodes.findLast(({ port }) => port === sent!.port)?.transport.received(sent.bytes, '10.0.0.1', sent.from.port);
    }
    return delivered;
  }
}

const setup = async (): Promise<{ wire: Wire; a: Node; b: Node }> => {
  const wire = new Wire(await testVo());
  return { wire, a: await wire.node('n1', 1), b: await wire.node('n2', 2) };
};

test('the first message to a peer introduces its sender; from then on there is only the message', async (t) => {
  const { wire, a, b } = await setup();
  a.known.admit(b.descriptor);
  t.true(a.transport.send('n2', Buffer.from('one')));
  t.deepEqual(wire.flow().map(({ bytes }) => bytes[0]), [2, 1]);
  t.deepEqual(b.frames, ['n1: one']);
  b.transport.send('n1', Buffer.from('two'));
  wire.flow();
  t.deepEqual(a.frames, ['n2: two']);
  wire.now += 60_000;
  a.transport.send('n2', Buffer.from('three'));
  b.transport.send('n1', Buffer.from('four'));
  t.deepEqual(wire.flow().map(({ bytes }) => bytes[0]), [1, 1]);
});

test('hello to an address is answered by the one who is there, at the address that it names', async (t) => {
  const { wire, a, b } = await setup();
  a.transport.hello('10.0.0.1', 2);
  wire.flow();
  t.true(a.known.find('n2') > 0 && b.known.find('n1') > 0);
});

test('a peer with a new key gets the message all the same', async (t) => {
  const { wire, a, b } = await setup();
  a.known.admit(b.descriptor);
  a.transport.send('n2', Buffer.from('before'));
  b.known.admit(a.descriptor);
  wire.flow();
  b.transport.send('n1', Buffer.from('hi'));
  wire.flow();
  const again = await wire.node('n2', 2, { epoch: Date.now() + 10 });
  wire.now += 5_000;
  a.transport.send('n2', Buffer.from('lost'));
  wire.flow();
  a.transport.send('n2', Buffer.from('after'));
  wire.flow();
  t.deepEqual(again.frames, ['n1: after'], 'the first one told that there is a new key');
  t.is(again.metrics.get('transport.unknown_key'), 1);
});

test('forged, replayed, cut and foreign datagrams are dropped and counted', async (t) => {
  const { wire, a, b } = await setup();
  a.known.admit(b.descriptor);
  b.known.admit(a.descriptor);
  a.transport.send('n2', Buffer.from('x'));
  const data = wire.flow().find(({ bytes }) => bytes[0] === 1)!.bytes;
  for (const [what, datagram] of [
    ['rejected.replayed', data], ['rejected.forged', Buffer.from(data.map((byte, at) => (at === data.length - 1 ? byte ^ 1 : at === 17 ? byte + 1 : byte)))],
    ['rejected.truncated', data.subarray(0, 30)], ['rejected.unknown', Buffer.from([9, 9])], ['rejected.unknown', Buffer.alloc(0)], ['rejected.oversized', Buffer.alloc(limits.frame_bytes_max + 1)],
    ['rejected.malformed', Buffer.from([3, 1, 2])],
  ] as const) {
    const before = b.metrics.get(what);
    b.transport.received(Buffer.from(datagram), '10.0.0.1', 1);
    t.is(b.metrics.get(what), before + 1, what);
  }
  t.deepEqual(b.frames, ['n1: x']);
  // Somebody else's key under a known id.
  const other = await wire.node('n3', 3);
  other.known.admit(b.descriptor);
  other.transport.send('n2', Buffer.from('y'));
  const [, foreign] = wire.sent.splice(0);
  const posing = Buffer.from(foreign!.bytes);
  a.key.id.copy(posing, 1);
  b.transport.received(posing, '10.0.0.1', 1);
  t.deepEqual(b.frames, ['n1: x']);
});

test('old messages are replays however late they come, new ones in any order are not', async (t) => {
  const { wire, a, b } = await setup();
  a.known.admit(b.descriptor);
  b.known.admit(a.descriptor);
  b.transport.send('n1', Buffer.from('hi'));
  wire.flow();
  const datagrams = Array.from({ length: 100 }, (_, i) => {
    a.transport.send('n2', Buffer.from(`${i}`));
    return wire.sent.splice(0).find(({ bytes }) => bytes[0] === 1)!.bytes;
  });
  for (const datagram of [...datagrams].reverse()) b.transport.received(Buffer.from(datagram), '10.0.0.1', 1);
  t.is(b.frames.length, 100);
  for (const datagram of datagrams) b.transport.received(Buffer.from(datagram), '10.0.0.1', 1);
  t.is(b.frames.length, 100);
  t.is(b.metrics.get('rejected.replayed'), 100);
});

test('a descriptor that is forged, of another VO or old makes nobody known, and nothing is answered', async (t) => {
  const { wire, a, b } = await setup();
  const other = new Wire(await testVo());
  const stranger = await other.node('n9', 9);
  const changed = Buffer.from(b.descriptor);
  changed[changed.length - 1]! ^= 1;
  for (const descriptor of [stranger.descriptor, changed, Buffer.from('nonsense'), Buffer.alloc(5_000)]) {
    a.transport.received(Buffer.concat([Buffer.from([2, 1]), descriptor]), '10.0.0.9', 9);
  }
  t.is(a.known.size, 1);
  t.is(wire.sent.length, 0);
  t.true(a.metrics.get('rejected.forged') >= 2);
});

test('floods of introductions and of unreadable datagrams are cut off', async (t) => {
  const { wire, a, b } = await setup();
  for (let i = 0; i < 1_000; i++) a.transport.received(Buffer.concat([Buffer.from([2, 1]), b.descriptor]), '10.0.0.2', 2);
  t.is(a.metrics.get('rejected.hello_flood'), 1_000 - limits.hellos_per_address_burst);
  t.true(wire.sent.length <= 2, 'and the answers are few');
  wire.sent.length = 0;
  for (let i = 0; i < 1_000; i++) a.transport.received(Buffer.concat([Buffer.from([1]), Buffer.alloc(80, i)]), '10.0.0.3', 3);
  t.true(wire.sent.length <= limits.whos_burst);
  t.true(wire.sent.every(({ bytes }) => bytes.length < 80), 'no answer is longer than the question');
});

test('a peer that floods is heard at the rate that everybody may have, and keeps nobody else from being heard', async (t) => {
  const { wire, a, b } = await setup();
  const c = await wire.node('n3', 3);
  for (const node of [a, c]) {
    node.known.admit(b.descriptor);
    b.known.admit(node.descriptor);
  }
  const burst = core.peer_messages_burst;
  for (let i = 0; i < burst + 500; i++) a.transport.send('n2', Buffer.from('more'));
  for (const { bytes, port } of wire.sent.splice(0)) if (port === 2) b.transport.received(bytes, '10.0.0.1', 1);
  t.is(b.frames.length, burst);
  t.is(b.metrics.get('rejected.flood'), 500);
  c.transport.send('n2', Buffer.from('me too'));
  wire.flow();
  t.is(b.frames.at(-1), 'n3: me too');
  wire.now += 1_000;
  a.transport.send('n2', Buffer.from('again'));
  wire.flow();
  t.is(b.frames.at(-1), 'n1: again');
});

test('forged datagrams do not use up the share of the peer whose id they bear', async (t) => {
  const { wire, a, b } = await setup();
  a.known.admit(b.descriptor);
  b.known.admit(a.descriptor);
  a.transport.send('n2', Buffer.from('x'));
  const data = wire.flow().find(({ bytes }) => bytes[0] === 1)!.bytes;
  const forged = Buffer.from(data);
  forged[forged.length - 1]! ^= 1;
  for (let i = 0; i < 3_000; i++) {
    forged.writeBigUInt64LE(BigInt(1_000 + i), 17);
    b.transport.received(Buffer.from(forged), '10.0.0.66', 6);
  }
  t.is(b.metrics.get('rejected.forged'), 3_000);
  a.transport.send('n2', Buffer.from('y'));
  wire.flow();
  t.is(b.frames.at(-1), 'n1: y');
});

test('addresses', (t) => {
  t.deepEqual(split('10.0.0.1:7001'), ['10.0.0.1', 7001]);
  t.deepEqual(split('[::1]:7001'), ['::1', 7001]);
  for (const bad of ['', 'x', 'x:0', 'x:99999', '::1:7001', '[::1]', ':7001']) t.is(split(bad)[1], 0, bad);
});

// What a peer can send: every kind comes back as it was sent, and no bytes whatever get a decoder to do anything but refuse.
import test from 'ava';
import { Codecs, Random, WireError, type Message, type PeerCodec } from '../../src/overlay/core/index.ts';
import { dhtCodecs } from '../../src/overlay/dht/index.ts';
import { pubsubCodecs } from '../../src/overlay/pubsub/messages.ts';
import { shapeCodecs } from '../../src/overlay/shapes/index.ts';
import { openBundle, sealBundle } from '../../src/overlay/service/seal.ts';
import { Assembler, cut } from '../../src/overlay/service/pieces.ts';

const peers: PeerCodec = { encoded: (peer) => Buffer.from([peer]), admit: (bytes) => (bytes.length === 1 && bytes[0] !== 255 ? bytes[0]! : -1) };
const codecs = new Codecs(peers, [...pubsubCodecs, ...dhtCodecs, ...shapeCodecs]);
const id = { origin: 2 ** 51 + 3, epoch: Date.UTC(2026, 1, 1), seq: 7 };

const samples: readonly (Message & object)[] = [
  { kind: 48, urgent: true, trial: false }, { kind: 48, urgent: false, trial: true }, { kind: 49 }, { kind: 50 }, { kind: 51 }, { kind: 52, digest: 2 ** 32 - 1, answer: false },
  { kind: 53, ...id, hops: 3, way: 'first', bytes: Buffer.from('abc') }, { kind: 54, ...id }, { kind: 55, ids: [{ ...id, hops: 0 }, { ...id, seq: 8, hops: 255 }] },
  { kind: 56, join: true, ranges: [] }, { kind: 56, join: true, ranges: [{ origin: 1, epoch: 2, from: 3, to: 3 }] }, { kind: 57 }, { kind: 58, answer: true, entries: [{ origin: 1, epoch: 2, contiguous: 9, oldest: 10 }] },
  { kind: 59, origin: 5 }, { kind: 60, origin: 5, peer: 9 },
  { kind: 64, id: 1, high: 2, low: 3, value: true }, { kind: 65, id: 1, peers: [4, 5], value: { version: 6, life_ms: 7, bytes: Buffer.from('v') } }, { kind: 65, id: 1, peers: [], value: null },
  { kind: 66, high: 1, low: 2, value: { version: 3, life_ms: 4, bytes: Buffer.alloc(0) } },
  { kind: 80, instance: 2 ** 51, wanted: 4, entries: [{ peer: 1, position: 2, age: 0 }, { peer: 3, position: 4, age: 9 }] }, { kind: 81, instance: 1, wanted: 0, entries: [] },
];

for (const sample of samples) {
  test(`kind ${sample.kind} comes back: ${JSON.stringify(sample).slice(0, 50)}`, (t) => t.deepEqual(codecs.decode(codecs.encode(sample)) as object, sample));

  test(`kind ${sample.kind} cut short, with more at its end, and changed: ${JSON.stringify(sample).slice(0, 40)}`, (t) => {
    const frame = codecs.encode(sample);
    for (let length = 0; length < frame.length; length++) t.throws(() => codecs.decode(frame.subarray(0, length)), { instanceOf: WireError });
    t.throws(() => codecs.decode(Buffer.concat([frame, Buffer.from([0])])), { instanceOf: WireError });
    const random = new Random(sample.kind);
    for (let round = 0; round < 300; round++) {
      const changed = Buffer.from(frame);
      changed[random.below(changed.length)] = random.below(256);
      try {
        codecs.decode(changed);
      } catch (thrown) {
        if (!(thrown instanceof WireError)) return t.fail(`${changed.toString('hex')}: ${String(thrown)}`);
      }
    }
    t.pass();
  });
}

test('random bytes are refused, whatever they are', (t) => {
  const random = new Random(77);
  for (let round = 0; round < 20_000; round++) {
    const frame = Buffer.from(Array.from({ length: random.below(80) }, (_, at) => (at === 0 ? 48 + random.below(34) : random.below(256))));
    try {
      codecs.decode(frame);
    } catch (thrown) {
      if (!(thrown instanceof WireError)) return t.fail(`${frame.toString('hex')}: ${String(thrown)}`);
    }
  }
  t.pass();
});

test('lists and payloads of the greatest size fit a frame; a longer list is oversized', (t) => {
  const announce = (count: number): Message => ({ kind: 55, ids: Array.from({ length: count }, () => ({ ...id, hops: 9 })) } as never);
  t.notThrows(() => codecs.decode(codecs.encode(announce(512))));
  t.is(t.throws(() => codecs.decode(codecs.encode(announce(513))), { instanceOf: WireError }).reason, 'oversized');
  t.throws(() => codecs.encode({ kind: 53, ...id, hops: 0, way: 'push', bytes: Buffer.alloc(65_530) } as never), { instanceOf: WireError });
});

test('a bundle comes back, and neither a cut nor a changed one does anything but be refused', (t) => {
  const bundle = { vo: 'demo', node: 'n1', epoch: 5, seq: 6, time_ms: 7, items: [{ topic: 'demo/app/x', user: 'alice', payload: Buffer.from('hello') }, { topic: 'demo/app/y', user: '', payload: Buffer.alloc(0) }] };
  const sealed = sealBundle(bundle, () => Buffer.alloc(64, 1));
  const { origin, ...opened } = openBundle(sealed).bundle;
  t.deepEqual(opened, bundle);
  t.true(Number.isSafeInteger(origin) && origin > 0);
  for (let length = 0; length < sealed.length - 1; length++) {
    try {
      openBundle(sealed.subarray(0, length));
      t.fail(`${length} bytes were taken`);
    } catch (thrown) {
      t.true(thrown instanceof WireError);
    }
  }
  const random = new Random(3);
  for (let round = 0; round < 2_000; round++) {
    const changed = Buffer.from(sealed);
    changed[random.below(changed.length)] = random.below(256);
    try {
      openBundle(changed);
    } catch (thrown) {
      if (!(thrown instanceof WireError)) return t.fail(String(thrown));
    }
  }
});

test('a frame in pieces comes back in whatever order they come; strange pieces are refused and forgotten', (t) => {
  const frame = Buffer.from(Array.from({ length: 10_000 }, (_, i) => i % 251));
  const pieces = cut(frame, 65_535);
  t.true(pieces.length > 5);
  const assembler = new Assembler();
  const random = new Random(1);
  const order = random.shuffle([...pieces, pieces[2]!]);
  const whole = order.map((piece) => assembler.add(piece, 0)).filter((found) => found !== null);
  t.is(whole.length, 1);
  t.deepEqual(whole[0], frame);
  t.deepEqual(new Assembler().add(cut(Buffer.alloc(0), 1)[0]!, 0), Buffer.alloc(0));
  for (const bad of [Buffer.alloc(3), Buffer.from([0, 0, 5, 5]), Buffer.from([0, 0, 0, 0]), Buffer.from([0, 0, 0, 200]), Buffer.from([0, 0, 0, 3, 1, 2])]) t.is(new Assembler().add(bad, 0), 'malformed');
  t.is(assembler.add(pieces[0]!, 0), null);
  const late = pieces.slice(1).map((piece) => assembler.add(piece, 10_000));
  t.true(late.every((found) => found === null), 'the first piece was let go');
  t.throws(() => cut(Buffer.alloc(65_537), 1), { instanceOf: RangeError });
});

// Every message of membership, RSS and ADS: it comes back as it was, and whatever else comes in is refused.
import test from 'ava';
import { Codecs, Random, WireError, packet, wordOf, type Message, type Packet, type PeerCodec } from '../../../src/overlay/core/index.ts';
import { Ads } from '../../../src/overlay/ads/index.ts';
import { Membership } from '../../../src/overlay/membership/index.ts';
import { Learner, Overlay, Search, rssLimits, type Query } from '../../../src/overlay/rss/index.ts';

const peers: PeerCodec = { encoded: (peer) => Buffer.from([peer]), admit: (bytes) => (bytes.length === 1 && bytes[0] !== 255 ? bytes[0]! : -1) };
const codecs = new Codecs(peers, [...Membership.codecs, ...Overlay.codecs, ...Search.codecs, ...Learner.codecs, ...Ads.codecs]);

function words(kind: number, ...values: readonly number[]): Packet {
  const made = packet(kind);
  made.words.fill(0);
  made.words.set(values);
  return made;
}

const query: Query = {
  constraints: [
    { kind: 'range', attribute: 'cores', low: 8, high: Number.POSITIVE_INFINITY, low_open: false, high_open: false },
    { kind: 'range', attribute: 'load', low: Number.NEGATIVE_INFINITY, high: 0.5, low_open: false, high_open: true },
    { kind: 'in', attribute: 'arch', values: ['x86_64', 7] }, { kind: 'not', attribute: 'os', values: ['Debian'] },
    { kind: 'has', attribute: 'roles', member: 'osd' }, { kind: 'near', x: 1, y: -2, height: 0.5, within_ms: 20 },
  ],
};
const none = 0xffff_ffff;

const samples: readonly Message[] = [
  words(1, 2, 7, 0, 8, 3), words(2, 0), words(3, none), words(3, 9), words(4, none, 1, none, ...[0.5, -0.25, 1, 0.125].map(wordOf)), words(4, 5, 0, 6, 0, 0, 0, wordOf(1)),
  words(5, 12), words(6, 4, 3), words(7), words(16, 1, 5, 6), words(17, 3, 1, 0, 2, 0, 3, 255),
  { kind: 18, id: 1, key: 0, depth: 64, query } as Message, { kind: 19, id: 2, matches: [1, 2], rest: [{ depth: 3, peers: [4] }, { depth: 5, peers: [] }] } as Message,
  { kind: 20, id: 3, walk: 4, key: 1, depth: 2, within_ms: 500, origin: 6, query: { constraints: [] } } as Message, { kind: 21, walk: 7 } as Message,
  { kind: 22, id: 8, matches: [9] } as Message, { kind: 23, walk: 1, missing: 2, matches: [] } as Message,
  { kind: 24, key: 0, version: 65_537, cuts: [[1, 2, 2], [0, 5]] } as Message, { kind: 24, key: 1, version: 0, cuts: null } as Message,
  { kind: 32, app: 'n1-42', report_ms: 1_000, replicas: [1, 2], metrics: ['load'] } as Message, { kind: 33, app: 'n1-42', values: [0.5, null] } as Message,
  { kind: 34, app: 'n1-42', id: 1, wanted: 5, query } as Message, { kind: 35, id: 1, known: true, matches: [3] } as Message, { kind: 36, app: 'n1-42' } as Message,
];

const plain = (message: Message): unknown => ('words' in message ? { kind: message.kind, words: [...(message as Packet).words.subarray(0, 1 + 2 * 3)] } : message);

for (const [i, sample] of samples.entries()) {
  test(`message ${i} of kind ${sample.kind} comes back`, (t) => {
    const back = codecs.decode(codecs.encode(sample));
    if ('words' in sample && sample.kind !== 4) {
      const count = [1, 2, 16, 17].includes(sample.kind) ? 1 + 2 * (sample as Packet).words[0]! : sample.kind === 6 ? 2 : sample.kind === 7 ? 0 : 1;
      t.deepEqual([...(back as Packet).words.subarray(0, count)], [...(sample as Packet).words.subarray(0, count)]);
    } else t.deepEqual(plain(back), plain(sample));
  });

  test(`message ${i} of kind ${sample.kind} cut short, with more at its end, and changed`, (t) => {
    const frame = codecs.encode(sample);
    for (let length = 0; length < frame.length; length++) t.throws(() => codecs.decode(frame.subarray(0, length)), { instanceOf: WireError });
    t.throws(() => codecs.decode(Buffer.concat([frame, Buffer.from([0])])), { instanceOf: WireError });
    const random = new Random(i + 1);
    for (let round = 0; round < 500; round++) {
      const changed = Buffer.from(frame);
      for (let change = random.below(4); change >= 0; change--) changed[random.below(changed.length)] = random.below(256);
      try {
        codecs.decode(changed);
      } catch (thrown) {
        if (!(thrown instanceof WireError)) return t.fail(`${changed.toString('hex')}: ${String(thrown)}`);
      }
    }
    t.pass();
  });
}

test('lists of the greatest length are taken, longer ones are not', (t) => {
  const answer = (count: number): Message => ({ kind: 19, id: 1, matches: Array.from({ length: count }, (_, peer) => peer), rest: [] } as Message);
  t.notThrows(() => codecs.decode(codecs.encode(answer(rssLimits.answer_peers_max))));
  t.throws(() => codecs.decode(codecs.encode(answer(rssLimits.answer_peers_max + 1))), { instanceOf: WireError });
});

test('cuts that do not ascend or are no numbers and ranges that end before they begin are refused', (t) => {
  for (const list of [[2, 1], [1, Number.NaN, 2], [1, Number.POSITIVE_INFINITY]]) t.throws(() => codecs.decode(codecs.encode({ kind: 24, key: 0, version: 1, cuts: [list] } as Message)), { instanceOf: WireError });
  const backwards: Query = { constraints: [{ kind: 'range', attribute: 'cores', low: 9, high: 8, low_open: false, high_open: false }] };
  t.throws(() => codecs.decode(codecs.encode({ kind: 18, id: 1, key: 0, depth: 0, query: backwards } as Message)), { instanceOf: WireError });
});

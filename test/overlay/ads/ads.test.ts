import test from 'ava';
import { Ads, adsLimits, type Values } from '../../../src/overlay/ads/index.ts';
import { range, type Query } from '../../../src/overlay/rss/index.ts';
import { Engine } from '../../../src/sim/engine.ts';

const idle: Query = { constraints: [range('load', 0, 0.5)] };

function world(nodes: number, links?: { loss: number }): { engine: Engine; ads: Ads; values: Values[]; find: (app: string, query?: Query) => readonly number[] | null | undefined } {
  const engine = new Engine({ capacity: nodes, seed: 4, codecs: Ads.codecs });
  engine.links.loss = links?.loss ?? 0;
  const values: Values[] = Array.from({ length: nodes }, (_, node) => ({ load: node % 2 === 0 ? 0.1 : 3, free_memory: node * 2 ** 20 }));
  const ads = new Ads(engine, (self) => values[self]!);
  engine.add(ads);
  for (let node = 0; node < nodes; node++) engine.start(node, []);
  const find = (app: string, query: Query = idle): readonly number[] | null | undefined => {
    let found: readonly number[] | null | undefined;
    ads.find(0, app, query, 48, (peers) => (found = peers));
    engine.run(4_000);
    return found === undefined || found === null ? found : [...found].sort((a, b) => a - b);
  };
  return { engine, ads, values, find };
}

const members = [1, 2, 3, 4, 5, 6, 7, 8];

test('a directory knows what its members are doing, and follows it', (t) => {
  const { engine, ads, values, find } = world(10);
  t.true(ads.open(0, 'n1-42', members, ['load', 'free_memory']));
  engine.run(2_000);
  t.deepEqual(find('n1-42'), [2, 4, 6, 8]);
  values[3] = { load: 0 };
  engine.run(2_000);
  t.deepEqual(find('n1-42'), [2, 3, 4, 6, 8]);
  t.deepEqual(find('n1-42', { constraints: [range('free_memory', 5 * 2 ** 20, 6 * 2 ** 20), range('load', 0, 1)] }), [6]);
  t.deepEqual(find('n1-42', { constraints: [range('unheard_of', 0, 1)] }), []);
});

test('closed: it is gone everywhere', (t) => {
  const { engine, ads, find } = world(10);
  ads.open(0, 'n1-42', members, ['load']);
  engine.run(2_000);
  ads.close(0, 'n1-42');
  engine.run(1_000);
  for (let node = 0; node < 10; node++) t.deepEqual(ads.load(node), { joined: 0, kept: 0 });
  t.is(find('n1-42'), undefined);
});

test('the owner dies: it is gone everywhere when the lease is over', (t) => {
  const { engine, ads } = world(10);
  ads.open(0, 'n1-42', members, ['load']);
  engine.run(2_000);
  t.is(members.filter((node) => ads.load(node).kept === 1).length, adsLimits.replicas);
  engine.crash(0);
  engine.run(adsLimits.lease_ms + 5_000);
  for (const node of members) t.deepEqual(ads.load(node), { joined: 0, kept: 0 });
});

test('two keepers die: the third answers at once, and members that died are not found', (t) => {
  const { engine, ads, find } = world(10);
  ads.open(0, 'n1-42', members, ['load']);
  engine.run(2_000);
  engine.crash(1);
  engine.crash(2);
  engine.run(5_000);
  t.deepEqual(find('n1-42'), [4, 6, 8]);
  engine.gone(0, 1, 'dead');
  engine.gone(0, 2, 'dead');
  engine.run(2_000);
  engine.crash(3);
  engine.run(5_000);
  t.deepEqual(find('n1-42'), [4, 6, 8], 'those that took their place have it');
});

test('all keepers are dead: the asker is told so', (t) => {
  const { engine, ads, find } = world(10);
  ads.open(0, 'n1-42', members, ['load']);
  engine.run(2_000);
  for (const node of [1, 2, 3]) engine.crash(node);
  t.is(find('n1-42'), null);
});

test('of a hundred look-ups with a fifth of the messages lost nearly all are answered', (t) => {
  const { engine, ads, find } = world(10, { loss: 0.2 });
  ads.open(0, 'n1-42', members, ['load']);
  engine.run(25_000);
  let answered = 0;
  for (let i = 0; i < 100; i++) if (find('n1-42') !== null) answered++;
  t.true(answered >= 90, String(answered));
});

test("another node cannot take over or close somebody's directory", (t) => {
  const { engine, ads, find } = world(12);
  ads.open(0, 'n1-42', members, ['load']);
  engine.run(2_000);
  ads.open(9, 'n1-42', members, ['free_memory']);
  engine.run(1_000);
  ads.close(9, 'n1-42');
  engine.run(1_000);
  t.deepEqual(find('n1-42'), [2, 4, 6, 8]);
  t.true(engine.metrics.get('rejected.not_owner') > 0);
});

test('bounds: too many members or metrics are refused at the owner', (t) => {
  const { ads } = world(2);
  t.false(ads.open(0, 'a', Array.from({ length: adsLimits.members_max + 1 }, () => 1), []));
  t.false(ads.open(0, 'a', [1], Array.from({ length: adsLimits.metrics_max + 1 }, (_, i) => `m${i}`)));
  t.false(ads.open(0, 'x'.repeat(adsLimits.app_bytes_max + 1), [1], []));
  t.true(ads.open(0, 'a', [1], []));
  t.false(ads.open(0, 'a', [1], []), 'it is open already');
});

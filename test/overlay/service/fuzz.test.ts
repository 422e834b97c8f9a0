// What an admitted node can do to another one with messages that it makes up: nothing but be counted.
import test from 'ava';
import { Codecs, Random, kinds, type Message } from '../../../src/overlay/core/index.ts';
import { Learner, Search, range } from '../../../src/overlay/rss/index.ts';
import { testVo } from '../../vo/authority.ts';
import { instances, until } from './instances.ts';

const rounds = Number(process.env['XOS_FUZZ_ROUNDS'] ?? 20_000);

test(`${rounds} changed, cut and joined messages of every kind that passed: no protocol fails, and the node goes on`, async (t) => {
  t.timeout(480_000);
  const grid = await instances(t, await testVo(), 4, 19_000 + (process.pid % 100) * 8);
  await until(() => grid.services.every((service) => service.show().links.length === 3));
  const [victim, liar] = grid.services;
  const frames = new Map<number, Buffer[]>();
  for (const { parts } of grid.services) {
    const send = parts.transport.send.bind(parts.transport);
    parts.transport.send = (node, frame) => {
      const kind = frames.get(frame[0]!) ?? [];
      if (kind.length < 20) frames.set(frame[0]!, [...kind, Buffer.from(frame)]);
      return send(node, frame);
    };
  }
  // Something of every protocol passes.
  const signal = AbortSignal.timeout(120_000);
  const caller = { uid: 0, gid: 0, pid: 1, user: null, vo: null };
  const joined = new AbortController();
  t.teardown(() => joined.abort());
  grid.contexts.forEach(({ api }, position) => void (async () => { for await (const _ of api.get('shape-join')!(caller, { name: 'fuzz', shape: 'ring', position, size: 4 }, joined.signal) as AsyncGenerator<object>);  })().catch(() => {}));
  for (let i = 0; i < 20; i++) {
    liar!.tell('demo/app/x', Buffer.from(`message ${i}`));
    await grid.services[i % 4]!.find('cores >= 1', i % 2 === 0 ? 0 : 2, signal);
    await grid.services[2]!.query('disk_free > 0, cores >= 1', 0, signal);
  }
  await until(() => frames.size >= 18);
  // So few know each other that no query has to be passed on: these are as a larger VO would send them.
  const codecs = new Codecs(liar!.parts.known, [...Search.codecs, ...Learner.codecs]);
  const query = { constraints: [range('cores', 1, 8), { kind: 'in', attribute: 'arch', values: ['x86_64'] }] };
  const { space } = liar!.parts.links.tables[0]!;
  const larger = [
    { kind: kinds.rss_query, id: 1, key: 0, depth: 0, query }, { kind: kinds.rss_answer, id: 1, matches: [0], rest: [{ depth: 3, peers: [0] }] }, { kind: kinds.rss_walk, id: 3, walk: 4, key: 1, depth: 2, within_ms: 500, origin: 0, query },
    { kind: kinds.rss_accept, walk: 4 }, { kind: kinds.rss_part, id: 3, matches: [0] }, { kind: kinds.rss_done, walk: 4, missing: 0, matches: [0] }, { kind: kinds.rss_cuts, key: 0, version: 1 << 16, cuts: space.cuts },
  ].map((message) => codecs.encode(message as Message));
  const all = [...[...frames.values()].flat(), ...larger.flatMap((frame) => Array.from({ length: 8 }, () => frame))];
  t.log(`kinds ${[...frames.keys()].sort((a, b) => a - b).join()}`);
  const random = new Random(5);
  const pick = (): Buffer => all[random.below(all.length)]!;
  const before = victim!.parts.known.size;
  for (let round = 0; round < rounds; round++) {
    const frame = Buffer.from(round % 7 === 0 ? Buffer.concat([pick().subarray(0, 1 + random.below(40)), pick()]) : pick());
    for (let changes = 1 + random.below(4); changes > 0; changes--) frame[random.chance(0.3) ? 0 : random.below(Math.min(frame.length, 1 + random.below(200)))] = random.chance(0.2) ? [0, 1, 127, 128, 255][random.below(5)]! : random.below(256);
    victim!.parts.host.receive('n2', round % 5 === 0 ? frame.subarray(0, random.below(frame.length + 1)) : frame);
    if (round % 500 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  t.is(victim!.metrics.get('host.failed'), 0);
  t.true(victim!.metrics.get('rejected.malformed') + victim!.metrics.get('rejected.truncated') > 1_000);
  t.is(victim!.parts.known.size, before, 'nobody was made up');
  let heard = 0;
  victim!.topics.listen('demo/app/after', () => { heard++; });
  await until(() => { grid.services[3]!.tell('demo/app/after', Buffer.from('still here?')); return heard > 0; }, 500);
  t.deepEqual((await victim!.find('cores >= 1', 0, signal)).toSorted(), ['n1', 'n2', 'n3', 'n4']);
});

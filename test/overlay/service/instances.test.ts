// Real overlays on loopback beside the same number in the simulator: sockets, sealed datagrams, signed descriptors and messages, real time.
import test from 'ava';
import { kinds, limits as core, type Message } from '../../../src/overlay/core/index.ts';
import { quantileCuts } from '../../../src/overlay/rss/index.ts';
import type { LinksOptions } from '../../../src/sim/links.ts';
import { testVo } from '../../vo/authority.ts';
import { TopicWorld } from '../../../src/sim/topic-world.ts';
import { fastClock } from './instance.ts';
import { instances, until, type Instances } from './instances.ts';

const count = Number(process.env['XOS_OVERLAY_INSTANCES'] ?? 40);
const port = 21_000 + (process.pid % 100) * 250;

interface Figures { readonly degree: number; readonly in_degree: number; readonly hops: number; readonly delivered: number }

const mean = (numbers: readonly number[]): number => numbers.reduce((sum, each) => sum + each, 0) / numbers.length;

async function real (grid: Instances, messages: number): Promise<Figures> {
  const { services } = grid;
  const names = services.map(({ options }) => options.context.node);
  const hops: number[] = [];
  let heard = 0;
  for (const service of services) service.topics.listen('demo/app/figures', () => { heard++; });
  for (const { parts } of services) {
    const { topics } = parts;
    const deliver = topics.deliver.bind(topics);
    // The hops are the broadcast's; those who subscribe are not told.
    topics.deliver = (self, kept) => { if (kept.hops > 0) hops.push(kept.hops); deliver(self, kept); };
  }
  for (let i = 0; i < messages; i++) {
    services[(i * 7) % count]!.tell('demo/app/figures', Buffer.from(`${i}`));
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  await until(() => heard >= messages * count);
  const views = services.flatMap(({ parts }) => [...parts.membership.view(0)].map(({ peer }) => parts.known.descriptor(peer)?.node ?? ''));
  const known = names.map((name) => views.filter((each) => each === name).length);
  return { degree: mean(services.map((service) => service.show().links.length)), in_degree: mean(known), hops: mean(hops), delivered: heard / (messages * count) };
}

function simulated (messages: number, links: LinksOptions): Figures {
  const world = new TopicWorld(count, 5, links);
  world.engine.run(4 * core.cycle_ms);
  const from = world.heard.map((told) => told.length);
  for (let i = 0; i < messages; i++) {
    world.publish((i * 7) % count);
    world.engine.run(100);
  }
  world.engine.run(5_000);
  const told = world.heard.flatMap((all, node) => all.slice(from[node]));
  return {
    degree: mean(world.living().map((node) => world.mesh.links(node).length)), in_degree: mean(world.living().map((node) => [...world.membership.view(node)].length)),
    hops: mean(told.map(({ hops }) => hops).filter((hops) => hops > 0)), delivered: told.length / (messages * count),
  };
}

test(`${count} real ones behave as the simulator says: links, views, hops, delivery`, async (t) => {
  t.timeout(Math.max(280_000, count * 7_000));
  const grid = await instances(t, await testVo(), count, port);
  await until(() => grid.services.every((service) => service.show().links.length >= 4));
  await new Promise((resolve) => setTimeout(resolve, 3 * core.cycle_ms));
  // A tree is made of the ways that came first. How uneven links are here depends on what else the machine does: from not at all to this.
  const [found, even, uneven] = [await real(grid, 40), simulated(40, { sites: 1, latency_ms: [[1]], jitter: 0 }), simulated(40, { sites: 1, latency_ms: [[1]], jitter: 10 })];
  t.log(JSON.stringify({ found, even, uneven }));
  for (const { delivered } of [found, even, uneven]) t.is(delivered, 1);
  for (const name of ['degree', 'in_degree', 'hops'] as const) {
    const [least, most] = [Math.min(even[name], uneven[name]) * 0.85, Math.max(even[name], uneven[name]) * 1.15];
    t.true(found[name] >= least && found[name] <= most, `${name}: ${found[name]}, simulated ${even[name]} to ${uneven[name]}`);
  }
  for (const service of grid.services) t.is(service.metrics.get('host.failed'), 0);
});

test('a node that was put out of the VO is not heard any more, and is no link of anybody', async (t) => {
  t.timeout(120_000);
  const grid = await instances(t, await testVo(), 5, port + 210);
  await until(() => grid.services.every((service) => service.show().links.length === 4));
  grid.revoked.add('n5');
  grid.changed();
  const others = grid.services.slice(0, 4);
  await until(() => others.every((service) => !service.show().links.includes('n5')));
  let heard = 0;
  for (const service of others) service.topics.listen('demo/app/x', () => { heard++; });
  grid.services[4]!.tell('demo/app/x', Buffer.from('from outside'));
  grid.services[0]!.tell('demo/app/x', Buffer.from('from inside'));
  await until(() => heard === 4);
  await until(() => others.some((service) => service.metrics.get('rejected.not_admitted') > 0));
  t.is(heard, 4);
});

test('queries find by fixed attributes, on every node', async (t) => {
  t.timeout(120_000);
  const grid = await instances(t, await testVo(), 8, port + 220, (node) => ({ attributes: { site: Number(node.slice(1)) <= 3 ? 'berlin' : 'rennes', rack: Number(node.slice(1)) } }));
  await until(() => grid.services.every((service) => service.show().known === 7));
  await until(() => grid.services.every(({ parts }) => ['n1', 'n8'].every((node) => parts.known.descriptor(Math.max(0, parts.known.find(node)))?.attributes['cores'] === 4)));
  const signal = AbortSignal.timeout(60_000);
  for (const service of grid.services) {
    let names: readonly string[] = [];
    // A new attribute is in a descriptor of its own, which has to get round.
    for (let tries = 0; tries < 50 && names.length !== 3; tries++) {
      names = (await service.find('site = berlin, cores >= 4', 0, signal)).toSorted();
      if (names.length !== 3) await new Promise((resolve) => setTimeout(resolve, 500));
    }
    t.deepEqual(names, ['n1', 'n2', 'n3']);
  }
  t.deepEqual((await grid.services[0]!.find('rack in 4..5, arch = x86_64', 10, signal)).toSorted(), ['n4', 'n5']);
  await t.throwsAsync(grid.services[0]!.find('colour = red', 10, signal), { message: /no node that this one knows has an attribute 'colour'; there are .*cores/ });
});

test('cuts that one node publishes are taken by all; links and queries follow the new keys', async (t) => {
  t.timeout(120_000);
  const grid = await instances(t, await testVo(), 12, port + 60, (node) => ({ attributes: { disk: 2 ** 36 * Number(node.slice(1)) } }), fastClock(10));
  await until(() => grid.services.every((service) => service.show().links.length >= 4 && service.show().known === 11));
  const [publisher, first] = grid.services;
  const { space } = publisher!.parts.links.tables[1]!;
  const values = Float64Array.from({ length: 12 }, (_, i) => 2 ** 36 * (i + 1));
  const cuts = space.spec.attributes.map((name) => (name === 'disk' ? quantileCuts(values, space.bits) : [...space.cuts[0]!]));
  const version = (1 << 16) | 7;
  publisher!.parts.host.send(0, publisher!.parts.known.find('n2'), { kind: kinds.rss_cuts, key: 1, version, cuts } as Message);
  await until(() => grid.services.every(({ parts }) => parts.links.tables[1]!.space.version === version));
  for (const { parts, metrics } of grid.services) {
    t.is(parts.learner.version(0, 1), version);
    t.is(parts.links.tables[0]!.space.version, 0);
    t.true(parts.links.tables[1]!.fits(0));
    t.is(metrics.get('host.failed'), 0);
  }
  t.deepEqual((await first!.find('disk in 64GiB..192GiB', 0, AbortSignal.timeout(30_000))).toSorted(), ['n1', 'n2', 'n3']);
  // Of another shape, out of order in generations: refused, and what stands stays.
  const peer = publisher!.parts.known.find('n2');
  for (const bad of [{ version: 99 << 16, cuts }, { version: (2 << 16) | 1, cuts: cuts.slice(1) }]) publisher!.parts.host.send(0, peer, { kind: kinds.rss_cuts, key: 1, ...bad } as Message);
  await until(() => first!.metrics.get('rejected.cuts') === 2);
  t.is(first!.parts.learner.version(0, 1), version);
});

test("the VO's documents reach every node as messages; what is too long for one is left to the registry's stream", async (t) => {
  t.timeout(120_000);
  const taken = new Map<string, string[]>();
  let change = (): void => {};
  let current = { membership: Buffer.from('m1'), revocation: Buffer.from('r1') };
  const registry = { current: () => current, onChange: (listener: () => void) => { change = listener; return () => {}; } };
  const grid = await instances(t, await testVo(), 4, port + 230, (node) => ({
    facts: { registry: node === 'n1' ? registry : null, take: async (kind, envelope) => { taken.set(node, [...taken.get(node) ?? [], `${kind} ${Buffer.from(envelope).toString()}`]); return true; } },
  }));
  await until(() => grid.services.every((service) => service.show().links.length === 3));
  change();
  const all = (count: number): boolean => ['n2', 'n3', 'n4'].every((node) => taken.get(node)?.length === count);
  await until(() => all(2));
  t.deepEqual(taken.get('n3'), ['revocation r1', 'membership m1'], 'revocations first');
  current = { membership: Buffer.alloc(49 * 1024), revocation: Buffer.from('r2') };
  change();
  await until(() => all(3));
  t.is(taken.get('n4')?.at(-1), 'revocation r2');
  t.is(taken.get('n1'), undefined);
});

test('many nodes are asked what they do by a directory, few one by one', async (t) => {
  t.timeout(200_000);
  const asked: string[] = [];
  const grid = await instances(t, await testVo(), 24, port + 180);
  const values = (node: string): { load: number; running: number; free_cpus: number; memory_free: number } => ({ load: Number(node.slice(1)) / 10, running: 0, free_cpus: 1, memory_free: 2 ** 30 });
  for (const { provided, node } of grid.contexts) {
    provided.loads = { now: () => values(node), loads: async (nodes) => { asked.push(...nodes); return new Map(nodes.map((each) => [each, values(each)])); } };
  }
  await until(() => grid.services.every((service) => service.show().links.length >= 4));
  const signal = AbortSignal.timeout(150_000);
  let found: readonly string[] = [];
  for (let tries = 0; tries < 60 && found.length < 5; tries++) {
    found = await grid.services[3]!.query('load <= 0.5, cores >= 1', 0, signal);
    if (found.length < 5) await new Promise((resolve) => setTimeout(resolve, 1_000));
  }
  t.deepEqual(found.toSorted(), ['n1', 'n2', 'n3', 'n4', 'n5']);
  asked.length = 0;
  t.deepEqual(await grid.services[3]!.query('load <= 0.5, node = n2', 0, signal), ['n2']);
  t.deepEqual(asked, ['n2']);
  t.is(grid.services[3]!.parts.ads.members(0, 'query/n4/1').length, 0, 'the directory is gone with the query');
});

test('what is said of a node while it runs is known on the others; a followed metric tells of each change, and its directory goes with it', async (t) => {
  t.timeout(120_000);
  const grid = await instances(t, await testVo(), 5, port + 170);
  await until(() => grid.services.every((service) => service.show().links.length === 4));
  const root = { uid: 0, gid: 0, pid: 1, user: null, vo: null };
  const [first, second] = grid.contexts;
  const signal = AbortSignal.timeout(100_000);
  const say = async (at: number, request: object): Promise<void> => { await grid.contexts[at]!.api.get('node-describe')!(root, request, signal); };
  await say(1, { set: { rack: 42 } });
  for (const service of grid.services) {
    // An unknown attribute is an error until the new descriptor has come.
    const found = async (): Promise<readonly string[]> => await service.find('rack = 42', 0, signal).catch(() => []);
    while ((await found()).join() !== 'n2') await new Promise((resolve) => setTimeout(resolve, 100));
  }
  await say(1, { metrics: { queue: 12 } });
  await say(2, { metrics: { queue: 3 } });
  const asked = async (): Promise<string> => (await grid.services[0]!.query('metric.queue < 20', 0, signal).catch(() => [])).toSorted().join();
  while (await asked() !== 'n2,n3') await new Promise((resolve) => setTimeout(resolve, 100));
  const controller = new AbortController();
  const lists: string[] = [];
  const followed = first!.api.get('node-follow')!(root, { query: 'metric.queue < 10', count: 0 }, controller.signal) as AsyncGenerator<{ nodes: { node: string }[] }>;
  const reading = (async () => { for await (const { nodes } of followed) lists.push(nodes.map(({ node }) => node).join()); })();
  await until(() => lists.at(-1) === 'n3');
  await say(1, { metrics: { queue: 4 } });
  await until(() => lists.at(-1) === 'n2,n3');
  await say(2, { metrics: { queue: 30 } });
  await until(() => lists.at(-1) === 'n2');
  controller.abort();
  await reading;
  await until(() => grid.services.every(({ parts }) => parts.ads.load(0).joined === 0));
  await t.throwsAsync(Promise.resolve(second!.api.get('node-describe')!(root, { set: { much: Array.from({ length: 60 }, (_, i) => `${i}${'x'.repeat(90)}`) } }, signal) as Promise<object>), { message: /more than 4096 bytes/ });
  t.is(grid.services[1]!.described.attributes['rack'], 42, 'what was too much changed nothing');
});

test('members of a shape meet by the DHT, are told their neighbours, and close the ring over one that leaves', async (t) => {
  t.timeout(200_000);
  const grid = await instances(t, await testVo(), 5, port + 240);
  await until(() => grid.services.every((service) => service.show().links.length === 4));
  const caller = { uid: 0, gid: 0, pid: 1, user: null, vo: null };
  const told = new Map<string, string>();
  const leave = grid.contexts.map(({ api, node }, position) => {
    const controller = new AbortController();
    const joined = api.get('shape-join')!(caller, { name: 'sim', shape: 'ring', position, size: 5 }, controller.signal) as AsyncGenerator<{ neighbours: { node: string }[] }, object, void>;
    const reading = (async () => { for await (const { neighbours } of joined) told.set(node, neighbours.map((each) => each.node).join()); })();
    t.teardown(async () => { controller.abort(); await reading; });
    return async () => { controller.abort(); await reading; };
  });
  await until(() => ['n2,n5', 'n1,n3', 'n2,n4', 'n3,n5', 'n1,n4'].every((expected, at) => told.get(`n${at + 1}`) === expected));
  await leave[2]!();
  await until(() => told.get('n2') === 'n1,n4' && told.get('n4') === 'n2,n5');
  const second = grid.contexts[0]!.api.get('shape-join')!(caller, { name: 'sim', shape: 'ring', position: 3, size: 5 }, new AbortController().signal) as AsyncGenerator<object>;
  await t.throwsAsync(async () => { await second.next(); }, { message: /has a member of 'sim' already/ });
  for (const [request, words] of [[{ position: 5 }, /position 5 is not one of 0 to 4/], [{ shape: 'star' }, /there are ring/], [{ name: '../x' }, /must have a name/]] as const) {
    const wrong = grid.contexts[1]!.api.get('shape-join')!(caller, { name: 'other', shape: 'ring', position: 0, size: 5, ...request }, new AbortController().signal) as AsyncGenerator<object>;
    await t.throwsAsync(async () => { await wrong.next(); }, { message: words });
  }
});

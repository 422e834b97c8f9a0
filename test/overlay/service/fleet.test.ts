// Real processes in network namespaces of their own (fleet.ts draws them); needs root. `npm run bench -- overlay` does the same with 200.
import { getuid } from 'node:process';
import test from 'ava';
import { testVo } from '../../vo/authority.ts';
import { compare, settle } from './compare.ts';
import { Fleet } from './fleet.ts';

const count = Number(process.env['XOS_OVERLAY_FLEET'] ?? 6);
const whole = count >= 100;
const when = getuid?.() === 0 ? test : test.skip;

when(`${count} processes find each other over their cables, and each hears every message once`, async (t) => {
  t.timeout(whole ? 600_000 : 180_000);
  const signal = AbortSignal.timeout(whole ? 590_000 : 170_000);
  const fleet = await Fleet.up({ vo: await testVo(), count, signal });
  t.teardown(() => fleet.down());
  await settle(fleet, whole ? 9 : 0, signal);
  const figures = await compare(fleet, { warm: whole ? 120 : 0, messages: whole ? 40 : 10, pause_ms: whole ? 500 : 50, idle_ms: whole ? 40_000 : 400, seed: 5, signal });
  t.log(JSON.stringify(figures));
  t.is(figures.real.delivered, 1);
  t.is(figures.simulated.delivered, 1);
  for (const { counters } of await fleet.shown()) t.is(counters['host.failed'] ?? 0, 0);
  // So few know all of each other: only many have something to compare.
  if (whole) for (const name of ['links', 'view', 'deviation', 'hops'] as const) t.true(Math.abs(figures.real[name] / figures.simulated[name] - 1) <= 0.1, `${name}: ${figures.real[name]} and ${figures.simulated[name]}`);
});

when('a process that is killed is missed by nobody for long: the others hear each other as before', async (t) => {
  t.timeout(180_000);
  const signal = AbortSignal.timeout(170_000);
  const fleet = await Fleet.up({ vo: await testVo(), count: 5, loopback: true, port: 20_000 + (process.pid % 1_000), signal });
  t.teardown(() => fleet.down());
  await settle(fleet, 0, signal);
  const [victim, ...others] = fleet.nodes;
  await victim!.stop();
  await t.throwsAsync(victim!.show(), { message: /has ended|closed/ });
  const linked = async (): Promise<boolean> => (await Promise.all(others.map((node) => node.show()))).every(({ links }) => links.length === 3 && !links.includes(victim!.name));
  while (!(await linked())) await new Promise((resolve) => setTimeout(resolve, 500));
  await Promise.all(others.map((node) => node.ask({ op: 'listen', topic: 'demo/app/x' })));
  await others[0]!.ask({ op: 'publish', topic: 'demo/app/x' });
  const all = async (): Promise<boolean> => (await Promise.all(others.map((node) => node.show()))).every(({ heard }) => heard.length === 1);
  while (!(await all())) await new Promise((resolve) => setTimeout(resolve, 100));
  t.pass();
});

import { createSocket } from 'node:dgram';
import { readFile } from 'node:fs/promises';
import type { Command } from '../../src/cli/lib/command.ts';
import { command as declared } from '../../src/cli/xquery.ts';
import { command as declaredNode } from '../../src/cli/xnode.ts';
import { overlayNode, test } from './overlay.ts';

const command = declared as Command;
const xnode = declaredNode as Command;

test('a node is found by what it is, what its site says, and what it does now', async (t) => {
  const node = await overlayNode(t);
  for (const query of ['', 'cores >= 1, arch = x86_64', 'site = berlin', 'rack in 5..9', 'devices has gps', 'memory > 1MiB, load >= 0', "site in {rennes, berlin}, site != 'paris'"]) {
    t.deepEqual(await node.run(command, ['-q', query]), { status: 0, out: 'n1\n', err: '' }, query);
  }
  const [found] = JSON.parse((await node.run(command, ['--json', 'rack = 7, free_cpus >= 0'])).out) as { node: string; sites: string[]; attributes: Record<string, unknown> }[];
  t.like(found, { node: 'n1', sites: ['berlin'] });
  t.is(found?.attributes['rack'], 7);
  t.is(typeof found?.attributes['free_cpus'], 'number');
  t.false(Object.keys(found?.attributes ?? {}).some((name) => name.startsWith('overlay.')));
  t.regex((await node.run(command, ['site = berlin'])).out, /^NODE +ADDRESS.*\nn1 +127\.0\.0\.1.*berlin.*registry relay/);
});

test('what root says of a node while it runs is found at once, over a restart, and no more when it was taken back', async (t) => {
  const node = await overlayNode(t);
  const say = async (...argv: string[]): Promise<string> => (await node.run(xnode, ['describe', ...argv])).out;
  t.regex(await say('rack=8', 'sensors={humidity, door}', 'site=rennes'), /NAME +VALUE\nrack +8\nsensors +\{humidity, door\}\nsite +rennes/);
  for (const query of ['rack = 8, sensors has door', 'site = rennes']) t.is((await node.run(command, ['-q', query])).out, 'n1\n', query);
  await node.xosd.end('SIGKILL');
  await node.xosd.start();
  await node.xosd.until(({ state }) => state !== 'waiting' && state !== 'starting');
  while (!(await node.xosd.api('overlay-status', {})).running) await new Promise((resolve) => setTimeout(resolve, 30));
  while ((await node.run(command, ['-q', 'rack = 8'])).out !== 'n1\n') await new Promise((resolve) => setTimeout(resolve, 100));
  t.notRegex(await say('--unset', 'rack', '--unset', 'sensors'), /rack/);
  t.is((await node.run(command, ['-q', 'rack = 7'])).out, 'n1\n', 'the configuration says it');
  for (const [argv, words] of [[['roles={registry}'], /which the node says itself/], [['Rack=1'], /small letters/], [['x'], /is not NAME=VALUE/], [['metric.queue=long'], /must be a number/], [['metric.Q=1'], /is no name of a metric/]] as const) {
    const { status, err } = await node.run(xnode, ['describe', ...argv]);
    t.not(status, 0);
    t.regex(err, words);
  }
});

test('metrics are asked of the nodes, until their time is over; free disk is one that every node has', async (t) => {
  const node = await overlayNode(t);
  t.is((await node.run(xnode, ['describe', '--life', '3', 'metric.queue=12'])).status, 0);
  t.is((await node.run(command, ['-q', 'metric.queue in 10..20'])).out, 'n1\n');
  t.is((await node.run(command, ['-q', 'metric.queue > 20'])).status, 1);
  t.is((await node.run(command, ['-q', 'disk_free > 1, cores >= 1'])).out, 'n1\n');
  t.regex((await node.run(command, ['-q', 'metric.depth > 20'])).err, /no node that this one knows has a metric 'depth'/);
  const controller = new AbortController();
  const following = node.run(command, ['-f', 'metric.queue = 5'], controller.signal);
  await new Promise((resolve) => setTimeout(resolve, 3_500));
  await node.run(xnode, ['describe', 'metric.queue=5']);
  await new Promise((resolve) => setTimeout(resolve, 3_500));
  await node.run(xnode, ['describe', 'metric.queue=6']);
  await new Promise((resolve) => setTimeout(resolve, 3_500));
  controller.abort();
  t.is((await following).out, '\nn1\n\n');
});

test('what the overlay of a node holds and refused is shown, and counted for Prometheus', async (t) => {
  const node = await overlayNode(t);
  const shown = await node.run(xnode, ['overlay']);
  t.is(shown.status, 0);
  t.regex(shown.out, /^node n1 is in the overlay\nknows 0 nodes, has links to none\nkeeps \d+ messages \(.*\) of \d+ publishers/);
  const { port } = JSON.parse(await readFile(`${node.xosd.directory}/etc/node.json`, 'utf8')) as { port: number };
  const socket = createSocket('udp4');
  t.teardown(() => socket.close());
  const refused = async (): Promise<Record<string, number>> => (JSON.parse((await node.run(xnode, ['overlay', '--json'])).out) as { counters: Record<string, number> }).counters;
  // Neither a message nor an introduction, and an introduction of nobody.
  while (!((await refused())['rejected.unknown']! > 0 && (await refused())['rejected.truncated']! > 0)) {
    socket.send(Buffer.from([200, 1, 2]), port, '127.0.0.1');
    socket.send(Buffer.concat([Buffer.from([2, 1]), Buffer.alloc(20)]), port, '127.0.0.1');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  t.regex((await node.run(xnode, ['overlay'])).out, /REFUSED +COUNT\n(.*\n)*unknown +\d+\n/);
});

test('no node, and queries that cannot be', async (t) => {
  const node = await overlayNode(t);
  t.deepEqual(await node.run(command, ['rack = 8']), { status: 1, out: '', err: 'xquery: no node fits\n' });
  t.regex((await node.run(command, ['colour = red'])).err, /^xquery: no node that this one knows has an attribute 'colour'; there are arch, cores, devices/);
  t.regex((await node.run(command, ['cores >= x'])).err, /^xquery: query 'cores >= x' is not valid at character 10: 'x' is no number/);
  t.regex((await node.run(command, ['near n9 within 5ms'])).err, /where node 'n9' is, is not known here/);
  t.is((await node.run(command, ['-n', '0'])).status, 2);
});

import type { Command } from '../../src/cli/lib/command.ts';
import { command as declared } from '../../src/cli/xquery.ts';
import { overlayNode, test } from './overlay.ts';

const command = declared as Command;

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

test('no node, and queries that cannot be', async (t) => {
  const node = await overlayNode(t);
  t.deepEqual(await node.run(command, ['rack = 8']), { status: 1, out: '', err: 'xquery: no node fits\n' });
  t.regex((await node.run(command, ['colour = red'])).err, /^xquery: no node that this one knows has an attribute 'colour'; there are arch, cores, devices/);
  t.regex((await node.run(command, ['cores >= x'])).err, /^xquery: query 'cores >= x' is not valid at character 10: 'x' is no number/);
  t.regex((await node.run(command, ['near n9 within 5ms'])).err, /where node 'n9' is, is not known here/);
  t.is((await node.run(command, ['-n', '0'])).status, 2);
});

import test from 'ava';
import type { Command } from '../../src/cli/lib/command.ts';
import { command as declared } from '../../src/cli/xnode.ts';
import { startCli } from './node.ts';

const command = declared as Command;

test('the nodes with state, load and what is not up', async (t) => {
  const grid = await startCli(t);
  const { out, status } = await grid.run(command, []);
  t.is(status, 0);
  t.regex(out, /^NODE {2}STATE +ADDRESS +CPUS +JOBS +LOAD +FREE +ROLES +DETAIL\nn1 +starting +127\.0\.0\.1 [^\n]*osd: [^\n]*\nn2 \* +starting/);
  t.is((await grid.run(command, ['list'])).out.split('\n').length, 4);
  t.is((await grid.run(command, ['-q'])).out, '', 'none is ready');
});

test('--json has for each node what scripts wait for', async (t) => {
  const grid = await startCli(t);
  const nodes = JSON.parse((await grid.run(command, ['list', '--json'])).out) as Record<string, unknown>[];
  t.deepEqual(nodes.map(({ node, state, here }) => ({ node, state, here })), [{ node: 'n1', state: 'starting', here: false }, { node: 'n2', state: 'starting', here: true }]);
  t.true(nodes.every((node) => Number(node['cpus']) > 0 && Array.isArray(node['services'])));
});

test('an unknown subcommand is refused with the known ones', async (t) => {
  const grid = await startCli(t);
  t.deepEqual(await grid.run(command, ['reboot']), { status: 2, out: '', err: "xnode: unknown subcommand 'reboot': there are list, status, limits, describe, overlay, join, found, leave, setup\nTry 'xnode --help'.\n" });
});

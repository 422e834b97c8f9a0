import type { Command } from '../../src/cli/lib/command.ts';
import { command as declared } from '../../src/cli/xshape.ts';
import { overlayNode, test } from './overlay.ts';

const command = declared as Command;

test('a command gets a file of neighbours and its status is passed on', async (t) => {
  const node = await overlayNode(t);
  const argv = ['-s', 'ring', '-p', '0', '-n', '1', 'sim', '--'];
  t.is((await node.run(command, [...argv, 'sh', '-c', 'test -f "$XOS_NEIGHBOURS" && exit 7'])).status, 7);
  t.is((await node.run(command, [...argv, 'sh', '-c', 'test "$XOS_POSITION" = 0 && exit 8'])).status, 8);
  t.is((await node.run(command, [...argv, 'sh', '-c', 'kill -9 $$'])).status, 137);
  const { status, err } = await node.run(command, [...argv, '/no/such/program']);
  t.is(status, 1);
  t.regex(err, /cannot run '\/no\/such\/program'/);
});

test('what cannot be', async (t) => {
  const node = await overlayNode(t);
  for (const [argv, status, words] of [
    [['-s', 'ring', '-p', '0', 'sim'], 2, /--size are needed/], [['-s', 'ring', '-n', '2', 'sim'], 2, /a COMMAND to start on each node is needed/],
    [['-s', 'ring', '-n', '2', 'sim', '--', 'true'], 1, /cannot start 2 members of 'sim': 1 nodes are known/], [['-s', 'ring', '-n', '2', '-w', 'rack = 8', 'sim', '--', 'true'], 1, /0 nodes fit 'rack = 8'/],
    [['-s', 'rank:2:abs(a - c)', '-p', '0', '-n', '2', 'sim'], 1, /'c' is not known in its expression/], [['-s', 'ring', '-n', '2', '-p', '0', '-w', 'cores > 0', 'sim'], 2, /needs no --position/], [['-s', 'star', '-p', '0', '-n', '2', 'sim'], 1, /there are ring, torus/], [['-s', 'ring', '-p', '2', '-n', '2', 'sim'], 1, /not one of 0 to 1/],
    [['-s', 'hypercube', '-p', '2', '-n', '5', 'sim'], 1, /2, 4, 8, 16/], [['-s', 'ring', '-p', '0', '-n', '2', '../x'], 1, /must have a name/],
  ] as const) {
    const found = await node.run(command, argv);
    t.is(found.status, status, argv.join(' '));
    t.regex(found.err, words);
  }
});

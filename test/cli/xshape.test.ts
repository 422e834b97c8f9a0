import type { Command } from '../../src/cli/lib/command.ts';
import { command as declared } from '../../src/cli/xshape.ts';
import { overlayNode, test } from './overlay.ts';

const command = declared as Command;

test('a command gets a file of neighbours and its status is passed on', async (t) => {
  const node = await overlayNode(t);
  const argv = ['-s', 'ring', '-p', '0', '-n', '1', 'sim', '--'];
  t.is((await node.run(command, [...argv, 'sh', '-c', 'test -f "$XOS_NEIGHBOURS" && exit 7'])).status, 7);
  t.is((await node.run(command, [...argv, 'sh', '-c', 'kill -9 $$'])).status, 137);
  const { status, err } = await node.run(command, [...argv, '/no/such/program']);
  t.is(status, 1);
  t.regex(err, /cannot run '\/no\/such\/program'/);
});

test('what cannot be', async (t) => {
  const node = await overlayNode(t);
  for (const [argv, status, words] of [
    [['-s', 'ring', '-p', '0', 'sim'], 2, /--size are needed/], [['-s', 'star', '-p', '0', '-n', '2', 'sim'], 1, /there are ring, torus/], [['-s', 'ring', '-p', '2', '-n', '2', 'sim'], 1, /not one of 0 to 1/],
    [['-s', 'hypercube', '-p', '2', '-n', '5', 'sim'], 1, /2, 4, 8, 16/], [['-s', 'ring', '-p', '0', '-n', '2', '../x'], 1, /must have a name/],
  ] as const) {
    const found = await node.run(command, argv);
    t.is(found.status, status, argv.join(' '));
    t.regex(found.err, words);
  }
});

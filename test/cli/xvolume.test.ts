import test from 'ava';
import type { Command } from '../../src/cli/lib/command.ts';
import { command as declared } from '../../src/cli/xvolume.ts';
import { capture } from './lib/capture.ts';
import { startCli } from './node.ts';

const command = declared as Command;

test('a volume is made, listed, shown and removed', async (t) => {
  const grid = await startCli(t);
  const volumes: object[] = [];
  await grid.vo.node('n1').daemon('mrc', (op, fields) => {
    if (op === 'volume-create') volumes.push({ ...fields, policy: { stripe_size: 1 << 20, width: 1, placement: 'with-mrc', ...(fields['policy'] as object) } });
    if (op === 'volume-remove') volumes.length = 0;
    return { volumes };
  });
  t.deepEqual(await grid.run(command, ['create', 'data', '--owner', 'bob', '--mode', '1777', '--stripe-size', '256K', '--placement=spread']), { status: 0, out: '', err: '' });
  t.is((await grid.run(command, ['list'])).out,
    'VOLUME  OWNER  MODE    STRIPE  PLACEMENT  FILES  USED\ndata    bob    1777  256K x 1  spread         -     -\n');
  t.is((await grid.run(command, ['list', '-q'])).out, 'data\n');
  t.regex((await grid.run(command, ['show', 'data'])).out, /\nmetadata: n1 \(up\)\n/);
  t.is((await grid.run(command, ['remove', 'data'])).status, 2, 'only with --force');
  t.is((await grid.run(command, ['remove', '--force', 'data'])).status, 0);
  t.is((await grid.run(command, ['show', 'data'])).err, "xvolume: cannot show volume 'data': there is no such volume; 'xvolume list' shows them\n");
});

test('bad values are refused before anything is asked', async (t) => {
  for (const argv of [['create', 'x', '--mode', '999'], ['create', 'x', '--stripe-size', 'big'], ['create', 'x', '--width', '0'], ['create', 'x', '--placement', 'far'], ['create']]) {
    t.is((await capture(command, argv, { env: { XOS_RUN: '/nonexistent' } })).status, 2, argv.join(' '));
  }
});

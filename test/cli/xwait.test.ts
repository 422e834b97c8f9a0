import test from 'ava';
import type { Command } from '../../src/cli/lib/command.ts';
import { command as declared } from '../../src/cli/xwait.ts';
import { startCli } from './node.ts';

const command = declared as Command;

test('the status is that of the last job named: exit status, or 128 and the signal', async (t) => {
  const grid = await startCli(t);
  for (const id of ['n1-1', 'n1-2']) await grid.job(id);
  const waiting = [grid.run(command, ['n1-1', 'n1-2']), grid.run(command, ['n1-2', 'n1-1'])];
  grid.relay.emit({ event: 'job-ended', job: 'n1-2', exit_signal: 15, cpu_seconds: 0 });
  grid.relay.emit({ event: 'job-ended', job: 'n1-1', exit_code: 42, cpu_seconds: 0 });
  t.deepEqual((await Promise.all(waiting)).map(({ status }) => status), [143, 42]);
  t.is((await grid.run(command, ['n1-1'])).status, 42, 'also after it ended');
  t.like(JSON.parse((await grid.run(command, ['--json', 'n1-2'])).out), [{ id: 'n1-2', state: 'ended', exit_signal: 15 }]);
});

test('a lost job is 137, with the reason', async (t) => {
  const grid = await startCli(t);
  await grid.job('n1-1');
  const waiting = grid.run(command, ['n1-1']);
  grid.relay.emit({ event: 'job-lost', job: 'n1-1', node: 'n2', reason: 'the node does not answer' });
  t.deepEqual(await waiting, { status: 137, out: '', err: "xwait: job 'n1-1' was lost with node 'n2': the node does not answer\n" });
});

test('a job whose home stays silent counts as lost', async (t) => {
  const grid = await startCli(t);
  await grid.job('n1-1');
  await grid.silence();
  const { status, err } = await grid.run(command, ['n1-1']);
  t.is(status, 137);
  t.regex(err, /^xwait: job 'n1-1' counts as lost: .*home node 'n1' does not answer/);
});

test('--timeout gives up with 124 and leaves the job alone', async (t) => {
  const grid = await startCli(t);
  await grid.job('n1-1');
  t.deepEqual(await grid.run(command, ['--timeout', '0.2', 'n1-1']), { status: 124, out: '', err: '' });
  t.deepEqual(grid.signals, []);
});

test('without an argument: all running jobs', async (t) => {
  const grid = await startCli(t);
  t.is((await grid.run(command, [])).status, 0);
  await grid.job('n1-1');
  const waiting = grid.run(command, []);
  grid.relay.emit({ event: 'job-ended', job: 'n1-1', exit_code: 5, cpu_seconds: 0 });
  t.is((await waiting).status, 0);
});

test('an unknown job is an error at once', async (t) => {
  const grid = await startCli(t);
  const { status, err } = await grid.run(command, ['n1-9']);
  t.is(status, 1);
  t.regex(err, /^xwait: cannot wait for job 'n1-9': there is no such job/);
});

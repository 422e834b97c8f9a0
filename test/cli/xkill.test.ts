import test from 'ava';
import type { Command } from '../../src/cli/lib/command.ts';
import { command as declared } from '../../src/cli/xkill.ts';
import { capture } from './lib/capture.ts';
import { startCli } from './node.ts';

const command = declared as Command;

test('signals by name and number, TERM by default, for several jobs; a pid works on its own node', async (t) => {
  const grid = await startCli(t);
  await grid.job('n1-1');
  await grid.job('n1-2', { proxy_pid: 778 });
  for (const argv of [['n1-1'], ['-9', 'n1-1'], ['-KILL', 'n1-2'], ['-SIGSTOP', 'n1-1', 'n1-2'], ['-s', 'CONT', 'n1-1'], ['--signal', '10', 'n1-1'], ['-0', 'n1-1']]) {
    t.deepEqual(await grid.run(command, argv), { status: 0, out: '', err: '' }, argv.join(' '));
  }
  t.is((await grid.run(command, ['-HUP', '778'], { node: 'n1' })).status, 0);
  t.deepEqual(grid.signals.map(({ job, signal }) => `${job} ${signal}`), ['n1-1 15', 'n1-1 9', 'n1-2 9', 'n1-1 19', 'n1-2 19', 'n1-1 18', 'n1-1 10', 'n1-2 1']);
});

test('what cannot be signalled is told, the others are signalled still, and the status is 1', async (t) => {
  const grid = await startCli(t);
  await grid.job('n1-1');
  const { status, err } = await grid.run(command, ['n1-7', 'n8-1', '4711', 'nonsense', 'n1-1']);
  t.is(status, 1);
  t.deepEqual(err.split('\n'), [
    "xkill: cannot signal job 'n1-7': there is no such job, or it ended more than ten minutes ago; 'xps --ended' lists jobs",
    "xkill: cannot signal job 'n8-1': there is no node 'n8' in VO 'demo'; 'xnode' lists nodes",
    "xkill: cannot signal process 4711: no job has its proxy there on this node; 'xps' lists jobs",
    "xkill: job id 'nonsense' is not valid: write it as node-number, for instance n1-42", '',
  ]);
  t.deepEqual(grid.signals, [{ job: 'n1-1', signal: 15 }]);
});

test('a job whose home is silent is not signalled, and it is said why', async (t) => {
  const grid = await startCli(t);
  await grid.silence();
  const { status, err } = await grid.run(command, ['n1-1']);
  t.deepEqual({ status, err }, { status: 1, err: "xkill: cannot signal job 'n1-1': its home node 'n1' does not answer; try again when 'xnode' shows it ready\n" });
});

test('wrong usage is refused before anything is done', async (t) => {
  for (const [argv, message] of [
    [[], 'argument JOB is missing: id of a job, or process id of its proxy'], [['-s', 'NOPE', 'n1-1'], "there is no signal 'NOPE'; 'xkill --list' names them"],
    [['--signal=65', 'n1-1'], "there is no signal '65'; 'xkill --list' names them"], [['-x', 'n1-1'], "unknown option '-x'"],
  ] as const) t.deepEqual(await capture(command, argv), { status: 2, out: '', err: `xkill: ${message}\nTry 'xkill --help'.\n` });
});

test('--list names the signals', async (t) => {
  t.regex((await capture(command, ['-l'])).out, /^ 1 HUP\n 2 INT\n[^]*\n 9 KILL\n/);
});

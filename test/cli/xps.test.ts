import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { Command } from '../../src/cli/lib/command.ts';
import { command as declared } from '../../src/cli/xps.ts';
import { capture } from './lib/capture.ts';
import { startCli, started_ms } from './node.ts';

const command = declared as Command;

test('a table of the jobs, from another node than their home', async (t) => {
  const grid = await startCli(t);
  await grid.job('n1-1');
  const { status, out, err } = await grid.run(command, [], { env: { TZ: 'UTC' } });
  t.deepEqual({ status, err }, { status: 0, err: '' });
  const [head, row, ...rest] = out.split('\n');
  t.is(head, 'JOB   NODE  STATE     CPU  MEMORY  STARTED       NAME');
  t.regex(row ?? '', /^n1-1 {2}n2 {4}running {2}12\.5 {4}3\.0M {2}Jan 0\d \d\d:\d\d {2}python3$/);
  t.deepEqual(rest, ['']);
  t.regex((await grid.run(command, ['--long'])).out, / python3 'crunch me\.py'\n$/);
  t.is((await grid.run(command, ['-q'])).out, 'n1-1\n');
});

test('--json is an array of objects with the promised fields', async (t) => {
  const grid = await startCli(t);
  t.deepEqual(JSON.parse((await grid.run(command, ['--json'])).out), []);
  await grid.job('n1-1');
  const [job] = JSON.parse((await grid.run(command, ['--json'])).out) as Record<string, unknown>[];
  t.like(job, { id: 'n1-1', name: 'python3', node: 'n2', home: 'n1', state: 'running', user: 'alice', vo: 'demo', cpu_seconds: 12.5, memory_bytes: 3_145_728, started_ms });
});

test('an ended job shows with --ended only, with its status; a lost one always', async (t) => {
  const grid = await startCli(t);
  for (const id of ['n1-1', 'n1-2', 'n1-3']) await grid.job(id);
  grid.relay.emit({ event: 'job-ended', job: 'n1-1', exit_code: 3, cpu_seconds: 1 });
  grid.relay.emit({ event: 'job-ended', job: 'n1-2', exit_signal: 9, cpu_seconds: 1 });
  grid.relay.emit({ event: 'job-lost', job: 'n1-3', node: 'n2', reason: 'gone' });
  for (let lost = false; !lost;) lost = (await grid.run(command, [])).out.includes(' lost ');
  t.is((await grid.run(command, ['-q'])).out, 'n1-3\n');
  const ended = (await grid.run(command, ['--ended'])).out.split('\n').map((line) => line.split(/ +/).slice(0, 4).join(' '));
  t.deepEqual(ended.slice(1, 4), ['n1-1 n2 ended 3', 'n1-2 n2 ended KILL', 'n1-3 n2 lost -']);
});

test('no jobs: a word on stderr, nothing on stdout', async (t) => {
  const grid = await startCli(t);
  t.deepEqual(await grid.run(command, []), { status: 0, out: '', err: 'xps: no jobs are running\n' });
});

test('a node that does not answer is named on stderr, and that is no error', async (t) => {
  const grid = await startCli(t);
  await grid.silence();
  const { status, err } = await grid.run(command, ['-q']);
  t.deepEqual({ status, err }, { status: 0, err: "xps: node 'n1' does not answer; its jobs may be missing\n" });
});

test('without xosd: what is missing, and status 1', async (t) => {
  const etc = await mkdtemp(join(tmpdir(), 'xos-'));
  t.teardown(() => rm(etc, { recursive: true }));
  const env = { XOS_RUN: '/nonexistent', XOS_ETC: etc };
  t.deepEqual(await capture(command, [], { env }), { status: 1, out: '', err: "xps: this machine is not part of a VO; found one with 'xnode found VO', or join one with 'xnode join TOKEN'\n" });
  await writeFile(join(etc, 'node.json'), '{}');
  const { status, err } = await capture(command, [], { env });
  t.is(status, 1);
  t.regex(err, /^xps: cannot reach '\/nonexistent\/xosd\.sock': .*is xosd running\?\n$/);
});

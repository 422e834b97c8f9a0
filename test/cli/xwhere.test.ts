import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { Command } from '../../src/cli/lib/command.ts';
import { classify, matchPolicy, readPolicy } from '../../src/cli/lib/policy.ts';
import { command as declared } from '../../src/cli/xwhere.ts';
import { startCli } from './node.ts';

const command = declared as Command;

test('without an argument: this node, and the running jobs', async (t) => {
  const grid = await startCli(t);
  t.is((await grid.run(command, [])).out, 'this shell is on n2\n');
  await grid.job('n1-1');
  t.is((await grid.run(command, [])).out, 'this shell is on n2\nJOB   NODE  STATE    NAME\nn1-1  n2    running  python3\n');
  t.like(JSON.parse((await grid.run(command, ['--json'])).out), { node: 'n2', jobs: [{ id: 'n1-1', node: 'n2' }] });
});

test('a job, a proxy, an ordinary process; what is none of them is an error', async (t) => {
  const grid = await startCli(t);
  await grid.job('n1-1', { proxy_pid: 2 ** 22 + 1 });
  t.is((await grid.run(command, ['n1-1'])).out, 'n2\n');
  t.is((await grid.run(command, [`${2 ** 22 + 1}`], { node: 'n1' })).out, 'n2\n');
  t.is((await grid.run(command, [`${process.pid}`], { node: 'n1' })).out, 'n1\n');
  const { status, out, err } = await grid.run(command, ['n1-1', 'n1-9']);
  t.deepEqual({ status, out }, { status: 1, out: 'n1-1  n2\n' });
  t.is(err, "xwhere: cannot find 'n1-9': it is no job of yours and no process of this node; 'xps --ended' lists jobs\n");
});

test('a command: where it would go, and why', async (t) => {
  const grid = await startCli(t);
  const local = await grid.run(command, ['--', 'gzip', '-9'], { env: { XOS_LOCAL: '1' } });
  t.is(local.out, 'n2 (here): XOS_LOCAL is set\n');
  const found = JSON.parse((await grid.run(command, ['--json', '--', 'gzip'])).out) as Record<string, unknown>;
  t.like(found, { command: ['gzip'], program: '/usr/bin/gzip' });
  const unknown = await grid.run(command, ['--', 'no-such-command']);
  t.is(unknown.status, 1);
  t.regex(unknown.err, /^xwhere: cannot tell where 'no-such-command' would run: there is no such program in PATH/);
});

test('a program that is marked, or not in a shared place, or told to stay, is local; a script goes as its interpreter', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'xos-test-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const program = (name: string, content: Buffer): string => {
    writeFileSync(join(directory, name), content);
    chmodSync(join(directory, name), 0o755);
    return join(directory, name);
  };
  const elf = Buffer.from('\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00', 'latin1');
  const marked = Buffer.from(elf);
  marked[9] = 0x78;
  t.like(await classify(program('plain', elf), {}, '/'), { placement: 'local', why: `${directory}/plain is not in a place that all nodes share` });
  t.regex((await classify(program('marked', marked), {}, '/')).why, /is marked as local/);
  const script = await classify(program('script', Buffer.from(`#!${directory}/marked -x\n`)), {}, '/');
  t.like(script, { placement: 'local', program: `${directory}/marked` });
  t.regex(script.why, /script is a script of .*marked; .*is marked as local/);
  t.like(await classify('gzip', { PATH: '/usr/bin', XOS_LOCAL: '0', XOS_NODE: 'n3' }, '/'), { placement: 'grid', node: 'n3' });
  t.like(await classify('gzip', { PATH: '/usr/bin' }, directory), { placement: 'local' });
  await t.throwsAsync(classify(join(directory, 'none'), {}, '/'), { code: 'XOS_NO_COMMAND' });
});

const rule = test.macro({
  title: (_given, pattern: string, path: string, matches: boolean) => `policy: ${pattern} ${matches ? 'matches' : 'does not match'} ${path}`,
  exec: (t, pattern: string, path: string, matches: boolean) => t.is(matchPolicy(`${pattern} local\n`, path, '/real') !== null, matches),
});
test(rule, '/usr/bin/gcc*', '/usr/bin/gcc-14', true);
test(rule, '/usr/bin/gcc*', '/usr/bin/gcc/x', false);
test(rule, '/home/**', '/home/alice/bin/a', true);
test(rule, '/home/?/a', '/home/b/a', true);
test(rule, '/home/?/a', '/home///a', false);
test(rule, '/usr/bin/g++', '/usr/bin/g++', true);
test(rule, '/usr/bin/a.out', '/usr/bin/aXout', false);
test(rule, '/real', '/other', true);
test(rule, '#/usr/bin/gcc', '/usr/bin/gcc', false);

test('the last line of a policy that matches wins, with its node; comments and nonsense are skipped', (t) => {
  const text = '# all\n/usr/**  grid\n/usr/bin/gcc local # slow here\n/usr/bin/gcc elsewhere\n/usr/bin/g* grid node=n2 # big\n';
  t.deepEqual(matchPolicy(text, '/usr/bin/gcc', '/usr/bin/gcc-14'), { line: '/usr/bin/g* grid node=n2 # big', placement: 'grid', node: 'n2' });
  t.deepEqual(matchPolicy('/a grid # node=n2\n', '/a', '/a'), { line: '/a grid # node=n2', placement: 'grid' });
});

test('lines of another VO or owner do not count, and a default says what happens without any', (t) => {
  const subject = { path: '/x', real: '/x', vo: 'demo', owner: 0, caller: 5 };
  t.is(readPolicy('vo other\n/x local\n', subject).rule, null);
  t.is(readPolicy('vo demo\n/x local\nvo *\n/y grid\n', subject).rule?.placement, 'local');
  t.is(readPolicy('/x local owner=root\n', subject).rule?.placement, 'local');
  t.is(readPolicy('/x local owner=self\n', subject).rule, null);
  t.deepEqual(readPolicy('default local leave=high\n/x auto cost=normal # big\n', subject),
    { rule: { line: '/x auto cost=normal # big', placement: 'auto', cost: 'normal' }, fallback: 'local', leave: 'high' });
});

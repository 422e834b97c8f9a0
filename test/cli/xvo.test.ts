// xvo as a program against a real xosd. Needs root.
import anyTest, { type ExecutionContext } from 'ava';
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Xosd } from '../support/xosd.ts';

const test = process.getuid?.() === 0 ? anyTest.serial : anyTest.serial.skip;
if (process.getuid?.() !== 0) console.log('skip xvo: needs root');
const program = fileURLToPath(new URL('../../src/cli/xvo.ts', import.meta.url));

interface Ended { readonly code: number | null; readonly out: string; readonly err: string }

function xvo(node: Xosd, args: readonly string[], input = ''): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', program, ...args], { env: { ...process.env, XOS_RUN: `${node.directory}/run`, XOS_ETC: `${node.directory}/etc` } });
    let [out, err] = ['', ''];
    child.stdout.on('data', (chunk) => (out += String(chunk)));
    child.stderr.on('data', (chunk) => (err += String(chunk)));
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, out, err }));
    child.stdin.end(input);
  });
}

async function node(t: ExecutionContext): Promise<Xosd> {
  t.timeout(60_000);
  const n1 = await Xosd.create(t, 'n1', { roles: ['registry', 'relay'] });
  await n1.start();
  await n1.until(({ state }) => state === 'waiting');
  return n1;
}

test('founding a VO, its members and its nodes, from the command line', async (t) => {
  const n1 = await node(t);
  const early = await xvo(n1, ['member', 'list', 'demo']);
  t.deepEqual([early.code, early.err], [1, "xvo: cannot work on VO 'demo': node 'n1' is in no VO yet\n"]);
  t.deepEqual(JSON.parse((await xvo(n1, ['list', '--json'])).out), []);

  const created = await xvo(n1, ['create', 'demo']);
  t.is(created.code, 0, created.err);
  t.regex(created.err, /move the root key '.*demo-root-key\.pem' to a safe place/);
  t.is((await xvo(n1, ['create', 'demo'])).code, 1);

  const alice = await xvo(n1, ['member', 'add', 'demo', 'alice', '--role', 'admin', '--password-stdin'], 'correct horse\n');
  t.deepEqual([alice.code, alice.out], [0, 'alice@demo has uid 1879113729, roles admin, active\n']);
  t.is((await n1.agent('auth', { user: 'alice@demo', password: 'correct horse' }))['status'], 'ok');
  const bob = await xvo(n1, ['member', 'add', 'demo', 'bob', '--json']);
  const { password } = JSON.parse(bob.out) as { password: string };
  t.is((await n1.agent('auth', { user: 'bob@demo', password }))['status'], 'ok');
  const members = JSON.parse((await xvo(n1, ['member', 'list', 'demo', '--json'])).out) as { user: string; uid: number; roles: string[]; state: string }[];
  t.deepEqual(members.map(({ user, uid, roles, state }) => [user, uid, roles, state]), [['alice', 1_879_113_729, ['admin'], 'active'], ['bob', 1_879_113_730, [], 'active']]);

  t.is((await xvo(n1, ['member', 'passwd', 'demo', 'bob', '--password-stdin'], 'another horse\n')).code, 0);
  t.is((await n1.agent('auth', { user: 'bob@demo', password: 'another horse' }))['status'], 'ok');
  t.regex((await xvo(n1, ['member', 'role', 'demo', 'bob', 'auditor'])).out, /roles auditor/);
  t.regex((await xvo(n1, ['member', 'revoke', 'demo', 'bob'])).out, /revoked/);
  t.is((await xvo(n1, ['member', 'remove', 'demo', 'bob'])).code, 0);

  const invited = JSON.parse((await xvo(n1, ['node', 'invite', 'demo', 'n2', '--json'])).out) as { node: string; token: string };
  t.is(invited.node, 'n2');
  t.regex(invited.token, /^xos1\./);
  t.regex((await xvo(n1, ['node', 'list', 'demo'])).out, /n2 +invited/);
  t.regex((await xvo(n1, ['show', 'demo'])).out, /registry +node n1/);
});

test('mistakes are told, with status 1 for what cannot be done and 2 for what was not understood', async (t) => {
  const n1 = await node(t);
  await n1.api('vo-create', { vo: 'demo' });
  for (const [args, words, input] of [
    [['member', 'add', 'other', 'alice'], /node 'n1' is part of VO 'demo'/, ''],
    [['member', 'add', 'demo', 'Alice!'], /user name 'Alice!' is not valid/, ''],
    [['member', 'add', 'demo', 'alice', '--password-stdin'], /too short/, 'abc\n'],
    [['member', 'add', 'demo', 'alice', '--password-stdin'], /no password on standard input/, ''],
    [['member', 'revoke', 'demo', 'nobody'], /no member 'nobody'/, ''],
    [['node', 'revoke', 'demo', 'n9'], /no node 'n9'/, ''],
    [['node', 'revoke', 'demo', 'n1'], /is the registry/, ''],
    [['node', 'admit', 'demo', 'n1'], /not revoked/, ''],
  ] as const) {
    const { code, err } = await xvo(n1, args, input);
    t.is(code, 1, args.join(' '));
    t.regex(err, words);
  }
  for (const args of [[], ['member'], ['member', 'add'], ['member', 'add', 'demo'], ['create'], ['create', 'demo', '--number', 'x'], ['nonsense'], ['show', 'demo', '--nonsense']]) {
    t.is((await xvo(n1, args)).code, 2, args.join(' '));
  }
  t.is((await xvo(n1, ['--help'])).code, 0);
  await n1.end('SIGTERM');
  const away = await xvo(n1, ['show', 'demo']);
  t.is(away.code, 1);
  t.regex(away.err, /is xosd running\?/);
});

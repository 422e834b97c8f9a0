import test, { type ExecutionContext } from 'ava';
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import type { XosError } from '../../../src/core/errors.ts';
import { parseCommandLine, setUpAtBoot } from '../../../src/cli/node/boot.ts';
import { foundGrid, nodeFromHost, type FoundOptions } from '../../../src/cli/node/found.ts';
import { joinGrid } from '../../../src/cli/node/join.ts';
import { leaveGrid } from '../../../src/cli/node/leave.ts';
import { ask } from '../../../src/cli/lib/api.ts';
import { encodeToken } from '../../../src/vo/token.ts';
import { testMachine, type TestMachine } from './machine.ts';

const timeout_ms = 30_000;
const place = { address: '127.0.0.1', roles: [], timeout_ms };
const founding: FoundOptions = { ...place, node: 'n1', admin: 'alice', password: async () => ({ password: 'a-good-password', made: null }) };

async function foundedBy(t: ExecutionContext): Promise<TestMachine> {
  const first = await testMachine(t, 'n1');
  await foundGrid(first.machine, first.call, 'demo', { ...founding, roles: ['registry'] });
  return first;
}

const invite = async (first: TestMachine, node: string): Promise<string> => (await ask(first.call, 'node-invite', { node })).token;

const withCode = (code: string) => (error: XosError): boolean => error.code === code;

test('a machine founds a VO, another one joins it, and both may be told so again', async (t) => {
  const first = await testMachine(t, 'n1');
  const founded = await foundGrid(first.machine, first.call, 'demo', { ...founding, roles: ['registry'] });
  t.is(founded.status.vo, 'demo');
  t.deepEqual(founded.admin, { user: 'alice', added: true, password: null });
  const again = await foundGrid(first.machine, first.call, 'demo', { ...founding, roles: ['registry'] });
  t.deepEqual([again.root_key_file, again.admin?.added, first.starts()], [null, false, 1]);

  const second = await testMachine(t, 'n2', { roles: ['relay'] });
  const token = await invite(first, 'n2');
  const status = await joinGrid(second.machine, second.call, token, place);
  t.deepEqual([status.node, status.vo, status.roles], ['n2', 'demo', ['relay']]);
  await joinGrid(second.machine, second.call, token, place);
  t.is(second.starts(), 1);
  const { policy, supervisor, address } = await second.configuration();
  t.deepEqual({ policy, supervisor, address }, { policy: { homes: 'local' }, supervisor: 'none', address: '127.0.0.1' });
});

test('a machine leaves its VO, is nothing of it then, and may join again', async (t) => {
  const first = await foundedBy(t);
  const second = await testMachine(t, 'n2', { roles: ['relay'] });
  const { policy, listen, port, supervisor } = await second.configuration();
  await joinGrid(second.machine, second.call, await invite(first, 'n2'), place);
  t.deepEqual(await leaveGrid(second.machine, second.call, false), { vo: 'demo', node: 'n2' });
  for (const path of ['etc/node.json', 'state/node', 'state/vo', 'run/passwd']) t.false(existsSync(`${second.folder}/${path}`), path);
  await t.throwsAsync(leaveGrid(second.machine, second.call, false), { code: 'XOS_NO_VO' } as object);

  await ask(first.call, 'node-revoke', { node: 'n2' });
  await writeFile(`${second.folder}/etc/node.json`, JSON.stringify({ policy, listen, port, supervisor }));
  t.is((await joinGrid(second.machine, second.call, await invite(first, 'n2'), place)).node, 'n2');
});

test('a node that others need leaves only when it is forced to', async (t) => {
  const first = await foundedBy(t);
  await t.throwsAsync(leaveGrid(first.machine, first.call, false), { code: 'XOS_ROLE', message: /the members and nodes of the VO \(registry\) for VO 'demo'/ } as object);
  t.true(existsSync(`${first.folder}/state/registry`));
  await leaveGrid(first.machine, first.call, true);
  t.false(existsSync(`${first.folder}/state/registry`));
  await t.throwsAsync(leaveGrid({ ...first.machine, uid: 1000 }, first.call, true), { code: 'XOS_DENIED' } as object);
});

test('set-up that was killed between two steps is finished by saying it again', async (t) => {
  const first = await testMachine(t, 'n1');
  const cut = { ...founding, roles: ['registry'], password: async () => { throw new Error('killed here'); } };
  await t.throwsAsync(foundGrid(first.machine, first.call, 'demo', cut), { message: 'killed here' });
  await first.kill();
  const founded = await foundGrid(first.machine, first.call, 'demo', { ...founding, roles: ['registry'] });
  t.is(founded.admin?.added, true);
  t.is(founded.root_key_file, null);
});

test('a machine too slow to found a VO in time says so, and the same command goes on', async (t) => {
  const first = await testMachine(t, 'n1');
  const slow = { ...founding, roles: ['registry'], timeout_ms: 1 };
  await t.throwsAsync(foundGrid(first.machine, first.call, 'demo', slow), { code: 'XOS_TIMEOUT', message: /VO 'demo' is not founded yet: .*give the same command again/ } as object);
  t.is((await foundGrid(first.machine, first.call, 'demo', { ...founding, roles: ['registry'] })).status.vo, 'demo');
});

test('a node belongs to one VO, and its configuration is not replaced when it cannot be read', async (t) => {
  const first = await foundedBy(t);
  const before = await first.configuration();
  await t.throwsAsync(foundGrid(first.machine, first.call, 'other', founding), { code: 'XOS_VO_EXISTS', message: /node 'n1' of VO 'demo'/ } as object);
  t.deepEqual(await first.configuration(), before);
  const second = await testMachine(t, 'n2');
  const token = await invite(first, 'n2');
  await writeFile(`${second.folder}/etc/node.json`, '{ half');
  await t.throwsAsync(joinGrid(second.machine, second.call, token, place), { message: /mend it or move it away/ });
  t.is(await readFile(`${second.folder}/etc/node.json`, 'utf8'), '{ half');
});

test('a token that cannot work is refused before anything is written', async (t) => {
  const second = await testMachine(t, 'n2');
  const before = await second.configuration();
  const token = { vo: 'demo', node: 'n2', registry: 'n1', address: '127.0.0.1', port: 7001, root: 'ab'.repeat(32), secret: 'cd'.repeat(32), expires_ms: 1000 };
  for (const [text, code] of [['xos1.bm90', 'XOS_BAD_TOKEN'], [encodeToken(token), 'XOS_TOKEN_EXPIRED']] as const) {
    const error = await t.throwsAsync<XosError>(joinGrid(second.machine, second.call, text, place));
    t.true(error !== undefined && withCode(code)(error), error?.message);
  }
  const error = await t.throwsAsync<XosError>(joinGrid({ ...second.machine, uid: 1000 }, second.call, encodeToken({ ...token, expires_ms: 9e15 }), place));
  t.is(error?.code, 'XOS_DENIED');
  t.deepEqual([await second.configuration(), second.starts()], [before, 0]);
});

test('a light node cannot found a VO', async (t) => {
  const light = await testMachine(t, 'md', { roles: ['relay', 'mount'] });
  const error = await t.throwsAsync<XosError>(foundGrid(light.machine, light.call, 'demo', founding));
  t.is(error?.code, 'XOS_ROLE');
  t.is(light.starts(), 0);
});

test('joining says what is wrong when nobody answers at the address in the token', async (t) => {
  const second = await testMachine(t, 'n2', { roles: ['relay'] });
  const token = encodeToken({ vo: 'demo', node: 'n2', registry: 'n1', address: '127.0.0.1', port: 1, root: 'ab'.repeat(32), secret: 'cd'.repeat(32), expires_ms: 9e15 });
  let error: XosError | undefined;
  // The first times it may only say that xosd is not up yet.
  do error = await t.throwsAsync<XosError>(joinGrid(second.machine, second.call, token, { ...place, timeout_ms: 1000 }));
  while (error?.code === 'XOS_TIMEOUT' && /is xosd running/.test(error.message));
  t.is(error?.code, 'XOS_TIMEOUT');
  t.regex(error!.message, /node 'n2' to join VO 'demo', in vain: the node is joining: .*127\.0\.0\.1/);
});

test('the kernel command line joins or founds, and what it says wrong is told', async (t) => {
  t.deepEqual([...parseCommandLine('ro quiet xos.root=1:2:3:4 xos.join=xos1.abc xos.node="n 2" axos.join=1 console=ttyS0')], [['join', 'xos1.abc'], ['node', 'n 2']]);
  const first = await testMachine(t, 'n1');
  t.is(await setUpAtBoot(first.machine, first.call, new Map()), null);
  await t.throwsAsync(setUpAtBoot(first.machine, first.call, new Map([['join', 'a'], ['found', 'b']])), { message: /both/ });
  const said = await setUpAtBoot(first.machine, first.call, new Map([['found', 'demo'], ['admin', 'alice'], ['admin_password', 'a-good-password'], ['node', 'n1'], ['address', '127.0.0.1'], ['roles', 'registry']]));
  t.is(said, 'this machine is node n1 of VO demo, and its registry');
  t.deepEqual((await ask(first.call, 'member-list', {})).members.map(({ user, roles }) => [user, roles]), [['alice', ['admin']]]);
});

test('a node is named after its machine', (t) => {
  t.is(nodeFromHost('Lab_PC.example.org'), 'lab-pc');
  t.is(nodeFromHost('42nodes'), 'nodes');
  t.is(nodeFromHost('localhost'), 'n1');
});

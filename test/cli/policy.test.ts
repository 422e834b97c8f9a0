// xvo policy and xnode limits as programs against a real xosd. Needs root.
import anyTest from 'ava';
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Xosd } from '../support/xosd.ts';

const test = process.getuid?.() === 0 ? anyTest.serial : anyTest.serial.skip;
if (process.getuid?.() !== 0) console.log('skip policy: needs root');

test('the VO says what its jobs may have, and a node shows what holds and who decided', async (t) => {
  t.timeout(120_000);
  const n1 = await Xosd.create(t, 'n1', { roles: ['registry', 'relay'] });
  await n1.start();
  await n1.until(({ state }) => state === 'waiting');
  const run = (program: string, ...args: readonly string[]): { code: number | null; out: string; err: string } => {
    const path = fileURLToPath(new URL(`../../src/cli/${program}.ts`, import.meta.url));
    const { status, stdout, stderr } = spawnSync(process.execPath, ['--disable-warning=ExperimentalWarning', path, ...args], { encoding: 'utf8', timeout: 30_000, env: { ...process.env, XOS_RUN: `${n1.directory}/run` } });
    return { code: status, out: stdout, err: stderr };
  };
  t.is(run('xvo', 'create', 'demo').code, 0);
  t.regex(run('xvo', 'policy', 'show', 'demo').err, /VO demo has no policy/);
  const set = run('xvo', 'policy', 'set', 'demo', 'memory.max=2G', 'network=none', 'firewall.deny=*:25,10.0.0.0/8');
  t.is(set.code, 0, set.err);
  t.regex(set.out, /memory\.max +2\.0 GiB +most memory/);
  t.deepEqual(JSON.parse(run('xvo', 'policy', 'set', 'demo', 'firewall.deny=', '--json').out), { 'memory.max': '2147483648', network: 'none' });
  for (const [argument, why] of [['pids.max=3', /a number from 16/], ['gpu=1', /there is no policy 'gpu'/], ['pids.max', /write KEY=VALUE/]] as const) {
    const refused = run('xvo', 'policy', 'set', 'demo', argument);
    t.is(refused.code, 1);
    t.regex(refused.err, why);
  }
  const shown = run('xnode', 'limits');
  t.regex(shown.out, /memory\.max +2\.0 GiB +VO +-\n/);
  t.regex(shown.out, /trust +trusted +default +-\n/);
  const { limits } = JSON.parse(run('xnode', 'limits', '--json').out) as { limits: { key: string; value: string; by: string }[] };
  t.like(limits.find(({ key }) => key === 'network'), { value: 'none', by: 'VO' });
});

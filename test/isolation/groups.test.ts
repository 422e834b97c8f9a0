import test from 'ava';
import type { Spawn } from '../../src/core/ports.ts';
import { cellsName, ensureGroup, findDisks, findHierarchy, plainSettings, sliceName, systemdProperties } from '../../src/isolation/groups.ts';
import { merge } from '../../src/isolation/policy.ts';
import { systemDisk } from '../../src/platform/disk.ts';

const disks = [{ path: '/dev/vda', number: '254:0' }, { path: '/dev/cciss/c0d0', number: '104:0' }];
const { signal } = new AbortController();
const nothing: Spawn = { run: async () => { throw new Error('nothing is to be run'); } };

test('names of units say the VO and make no further level', (t) => {
  t.is(sliceName('demo'), 'xos-demo.slice');
  t.is(sliceName('my-vo'), 'xos-my\\x2dvo.slice');
  t.is(cellsName('my-vo'), 'xos-cells-my\\x2dvo.service');
});

test('a weight is always said, and a limit that is taken back is written as none', (t) => {
  const none = systemdProperties(merge({}, {}), disks);
  for (const property of ['CPUWeight=100', 'CPUQuota=', 'MemoryMax=infinity', 'TasksMax=8192', 'IOWeight=100', 'IOWriteBandwidthMax=', 'DevicePolicy=auto']) t.true(none.includes(property), property);
  const some = systemdProperties(merge({ 'cpu.max': '150%', 'memory.max': '1073741824', 'io.write.max': '52428800', trust: 'untrusted' }, { 'cpu.weight': '900' }), disks);
  for (const property of ['CPUWeight=900', 'CPUQuota=150%', 'IOWriteBandwidthMax=', 'IOWriteBandwidthMax=/dev/vda 52428800', 'IOWriteBandwidthMax=/dev/cciss/c0d0 52428800', 'DevicePolicy=closed']) t.true(some.includes(property), property);
  t.like(plainSettings(merge({ 'cpu.max': '150%', 'memory.max': '1073741824' }, {}), []), { 'cpu.weight': '100', 'cpu.max': '150000 100000', 'memory.max': '1073741824', 'pids.max': '8192' });
});

test('each disk of the machine is limited, whatever lies over them, and a limit is taken back on each', async (t) => {
  const folders: Record<string, string> = { vda: '254:0\n', 'cciss!c0d0': '104:0\n' };
  const machine = {
    ...systemDisk,
    list: async () => [...Object.keys(folders), 'loop0', 'dm-0'],
    facts: async (path: string) => (Object.keys(folders).some((name) => path === `/sys/block/${name}/device`) ? { kind: 'symlink' as const, size_bytes: 0, mode: 0o777, uid: 0, gid: 0 } : null),
    read: async (path: string) => Buffer.from(folders[path.split('/')[3]!]!),
  };
  t.deepEqual(await findDisks({ disk: machine }), disks);
  t.is(plainSettings(merge({ 'io.write.max': '1048576' }, {}), disks)['io.max'], '254:0 rbps=max wbps=1048576\n104:0 rbps=max wbps=1048576');
  t.is(plainSettings(merge({}, {}), disks)['io.max'], '254:0 rbps=max wbps=max\n104:0 rbps=max wbps=max');
  t.is(plainSettings(merge({ 'io.weight': '50' }, {}), [])['io.weight'], 'default 50');
});

test('without cgroup v2 there is no group, and nothing is run', async (t) => {
  t.deepEqual(await ensureGroup('none', 'demo', merge({}, {}), [], { disk: systemDisk, spawn: nothing }, signal), { directory: '', fence: '', settings: {}, slice: '' });
  const empty = { ...systemDisk, read: async () => null };
  t.is(await findHierarchy({ disk: empty, spawn: nothing }), 'none');
});

test('without systemd the relay gets the directory and what to write', async (t) => {
  const group = await ensureGroup('plain', 'demo', merge({ 'pids.max': '64' }, {}), disks, { disk: systemDisk, spawn: nothing }, signal);
  t.like(group, { directory: '/sys/fs/cgroup/xos.slice/xos-demo.slice', fence: '/sys/fs/cgroup', slice: 'xos.slice/xos-demo.slice' });
  t.is(group.settings['pids.max'], '64');
});

test('a command that fails is named with what it said', async (t) => {
  const failing: Spawn = { run: async () => ({ exit_code: 1, exit_signal: null, stdout: '', stderr: 'Access denied\n' }) };
  const thrown = await t.throwsAsync(ensureGroup('systemd', 'demo', merge({}, {}), [], { disk: systemDisk, spawn: failing }, signal), { code: 'XOS_CGROUP' } as never);
  t.regex(thrown.message, /systemctl set-property.*Access denied/);
});

import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { callApi } from '../../src/api/client.ts';
import type { Command } from '../../src/cli/lib/command.ts';
import { XosError } from '../../src/core/errors.ts';
import { command as lsfs } from '../../src/cli/lsfs.xtreemfs.ts';
import { command as mkfs } from '../../src/cli/mkfs.xtreemfs.ts';
import { command as mount } from '../../src/cli/mount.xtreemfs.ts';
import { replicasText, withOldNames } from '../../src/cli/replicas.ts';
import { command as rmfs } from '../../src/cli/rmfs.xtreemfs.ts';
import { command as declared } from '../../src/cli/xtfsutil.ts';
import { capture } from './lib/capture.ts';
import { startCli } from './node.ts';

const command = declared as Command;

test('volumes are made with a limit, listed by name, and removed by the names that XtreemFS had', async (t) => {
  const grid = await startCli(t);
  const volumes: object[] = [];
  const quotas: object[] = [];
  await grid.vo.node('n1').daemon('mrc', (op, fields) => {
    if (op === 'volume-create') volumes.push({ ...fields, policy: { stripe_size: 1 << 20, width: 1, placement: 'with-mrc', ...(fields['policy'] as object) } });
    if (op === 'quota-set') quotas.push(fields);
    if (op === 'volume-remove') volumes.length = 0;
    return { volumes };
  });
  t.deepEqual(await grid.run(mkfs as Command, ['data', '--quota', '1G', '--width', '2', '--atime', 'noatime']), { status: 0, out: '', err: '' });
  t.like(volumes[0], { name: 'data', policy: { width: 2, atime: 'noatime' } });
  t.like(quotas[0], { volume: 'data', bytes_max: 2 ** 30, default: false });
  t.is((await grid.run(lsfs as Command, [])).out, 'data\n');
  t.is(JSON.parse((await grid.run(lsfs as Command, ['--json'])).out)[0].policy.atime, 'noatime');
  t.is((await grid.run(rmfs as Command, ['data'])).status, 2, 'only with --force');
  t.is((await grid.run(rmfs as Command, ['--force', 'data'])).status, 0);
  t.is((await grid.run(lsfs as Command, [])).out, '');
});

test('write replicas are a policy, by our names and those of XtreemFS', async (t) => {
  const grid = await startCli(t);
  const asked: unknown[] = [];
  await grid.vo.node('n1').daemon('mrc', (op, fields) => {
    if (op === 'policy-set') asked.push(fields['policy']);
    if (op === 'volume-create') asked.push(fields['policy']);
    const policy = { stripe_size: 1 << 20, width: 1, placement: 'spread', atime: 'relatime', replication: 'quorum', replicas: 3 };
    return { volume: 'data', type: 'file', uid: 0, policy, volumes: [{ name: 'data', policy }], copies: [{ state: 'whole', osds: [{ osd: 'n2', up: true }] }, { state: 'behind', osds: [{ osd: 'n3', up: false }] }],
      stripes: { stripe_size: 1 << 20, width: 1, osds: [{ osd: 'n2', node: 'n2', up: true }] } };
  });
  t.deepEqual(withOldNames(['--set-drp', '--replication-policy=quorum', '--replication-factor', '3', 'dir']), ['set', '--replication=quorum', '--replicas', '3', 'dir']);
  t.deepEqual(withOldNames(['--set-replication-policy', 'all', 'dir']), ['set', '--replication', 'all', 'dir']);
  const options = { run: grid.vo.node('n2').context.paths.run, signal: new AbortController().signal };
  await callApi('volume-policy', { inode: 77, policy: { replication: 'all', replicas: 2 } }, options);
  await callApi('volume-policy', { inode: 77, policy: { replication: 'none' } }, options);
  t.deepEqual(asked, [{ replication: 'all', replicas: 2 }, { replication: 'none', replicas: 1 }]);
  for (const policy of [{ replication: 'most' as 'all', replicas: 3 }, { replication: 'all' as const, replicas: 8 }, { replicas: 3 }, { replication: 'quorum' as const }, { replication: 'all' as const, replicas: 3, width: 2 }])
    await t.throwsAsync(callApi('volume-policy', { inode: 77, policy }, options), { code: 'XOS_BAD_ARGUMENT' }, JSON.stringify(policy));
  t.like((await callApi('volume-inspect', { inode: 77 }, options)).policy, { replication: 'quorum', replicas: 3 });
  t.is(replicasText(await callApi('volume-replicas', { inode: 77, action: 'status' }, options)), 'n2, n3 (down) (behind)');
});

test('a file is asked for by its number, which is not taken for that of the request', async (t) => {
  const grid = await startCli(t);
  const asked: unknown[] = [];
  await grid.vo.node('n1').daemon('mrc', (op, fields) => {
    if (op === 'inode-show' || op === 'replicas') asked.push([op, fields['inode']]);
    return op === 'replicas' ? { copies: [] } : { volume: 'data', type: 'file', uid: 0, policy: {} };
  });
  const options = { run: grid.vo.node('n2').context.paths.run, signal: new AbortController().signal };
  t.like(await callApi('volume-inspect', { inode: 77 }, options), { volume: 'data', type: 'file' });
  t.deepEqual((await callApi('volume-replicas', { inode: 78, action: 'status' }, options)).copies, []);
  t.deepEqual(asked, [['inode-show', 77], ['inode-show', 78], ['replicas', 78]]);
});

test('what is used is shown beside the limits, and limits are set for the volume, a member or everybody', async (t) => {
  const grid = await startCli(t);
  const quotas: Record<string, unknown>[] = [];
  const none = { bytes_max: 0, files_max: 0 };
  await grid.vo.node('n1').daemon('mrc', (op, fields) => {
    if (op === 'quota-set') quotas.push(fields);
    if (op === 'usage') return { all: { bytes: 3 << 20, files: 7, bytes_max: 2 ** 30, files_max: 0 }, default: { bytes: 0, files: 0, ...none, files_max: 100 }, users: [{ uid: 0, bytes: 3 << 20, files: 7, ...none }] };
    return { volumes: [] };
  });
  t.is((await grid.run(command, ['quota', 'data'])).out,
    'WHO        USED  LIMIT  FILES  LIMIT\nvolume     3.0M   1.0G      7      -\nroot       3.0M      -      7      -\neach user     -      -      -    100\n');
  t.is(JSON.parse((await grid.run(command, ['quota', 'data', '--json'])).out).every_user.files_max, 100);
  for (const argv of [['--bytes', '10G'], ['--user', 'bob', '--bytes', '0'], ['--user', '*', '--files', '5']]) t.is((await grid.run(command, ['quota', 'data', ...argv])).status, 0, argv.join(' '));
  const bob = grid.vo.node('n1').context.members.get('bob')?.uid;
  t.deepEqual(quotas.map(({ volume, uid, default: every, bytes_max, files_max }) => [volume, uid, every, bytes_max, files_max]),
    [['data', undefined, false, 10 * 2 ** 30, undefined], ['data', bob, false, 0, undefined], ['data', undefined, true, undefined, 5]]);
  t.regex((await grid.run(command, ['quota', 'data', '--user', 'nobody-known', '--bytes', '1'])).err, /no such member/);
});

test('the metadata is checked, and mended when that is meant', async (t) => {
  const grid = await startCli(t);
  await grid.vo.node('n1').daemon('mrc', (op, fields) =>
    (op === 'check' ? { inodes: 12, entries: 10, problems: 1, found: ["name 'x' in directory 7 leads to file 9, which is not there"], repaired: fields['repair'] } : { volumes: [] }));
  t.deepEqual(await grid.run(command, ['check']), {
    status: 1, err: '', out: "name 'x' in directory 7 leads to file 9, which is not there\n12 files, 10 names: 1 wrong; 'xtfsutil check --repair' mends them\n",
  });
  t.regex((await grid.run(command, ['check', '--repair'])).out, /: 1 mended\n$/);
  t.is(JSON.parse((await grid.run(command, ['check', '--json'])).out).problems, 1);
});

test('a path outside of XtreemFS, and options that make no sense together, are refused', async (t) => {
  const path = join(tmpdir(), `xtfsutil-${process.pid}`);
  t.teardown(() => rmSync(path, { force: true }));
  writeFileSync(path, '');
  t.regex((await capture(command, ['show', path], {})).err, /not in a volume of XtreemFS/);
  t.is((await capture(command, ['show', '/nonexistent'], {})).status, 1);
  t.is((await capture(command, ['set', path], {})).status, 2);
  t.is((await capture(command, ['set', path, '--inherit', '--width', '2'], {})).status, 2);
  t.is((await capture(command, ['quota', 'x', '--bytes', 'much'], {})).status, 2);
  t.is((await capture(command, ['set', path, '--stripe-size', 'big'], {})).status, 2);
});

test('mount.xtreemfs wants a volume of a VO, and says what it waited for', async (t) => {
  for (const source of ['data', '/', 'demo/../x', 'demo//x']) t.is((await capture(mount as Command, [source, '/mnt'], {})).status, 2, source);
  t.is((await capture(mount as Command, ['demo/data', '/mnt', '-o', 'wait=soon'], {})).status, 2);
  const { status, err } = await capture(mount as Command, ['demo/data', '/mnt', '-o', 'ro,wait=0'], { env: { XOS_GRID: '/nonexistent' } });
  t.is(status, 1);
  t.regex(err, /cannot mount 'demo\/data' after waiting 0 s: no VO is mounted at '\/nonexistent\/demo'/);
});

test('orphaned objects are counted, removed when that is meant, and progress is told', async (t) => {
  const grid = await startCli(t);
  const asked: Record<string, unknown>[] = [];
  const done = { whole: true, osds: 2, osds_done: 2, osds_away: 0, objects: 40, orphans: 3, orphan_bytes: 8192, removed: 0, failed: 0, young: 1, unknown: 2 };
  await grid.vo.node('n1').daemon('mrc', (op, fields) => {
    if (op !== 'sweep') return { volumes: [] };
    asked.push(fields);
    if (fields['action'] === 'start') return { ...done, running: true, whole: false, osds_done: 0, objects: 7 };
    return { ...done, running: false, removed: asked.some(({ remove }) => remove === true) ? 3 : 0 };
  });
  const looked = await grid.run(command, ['orphans']);
  t.is(looked.status, 1);
  t.is(looked.out, '40 objects at 2 servers: 3 belong to no file (8.0K)\n');
  t.regex(looked.err, /OSD 1 of 2: 7 objects/);
  t.regex(looked.err, /1 more belong to no file but were changed too lately/);
  t.regex(looked.err, /2 have numbers that were never given out/);
  t.deepEqual(asked.map(({ action, remove, grace_ms }) => [action, remove, grace_ms]), [['start', false, undefined], ['status', false, undefined]]);
  const removed = await grid.run(command, ['orphans', '--remove', '--grace', '60']);
  t.is(removed.status, 0, removed.err);
  t.regex(removed.out, /3 removed/);
  t.like(asked.at(-2), { action: 'start', remove: true, grace_ms: 60_000 });
  t.is(JSON.parse((await grid.run(command, ['orphans', '--json', '--remove'])).out).unknown, 2);
});

test('a dump is a file when it is whole, and a restore sends it back; a failure leaves nothing', async (t) => {
  const grid = await startCli(t);
  const directory = mkdtempSync(join(tmpdir(), 'xos-dump-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const contents = Buffer.from(Array.from({ length: 500_000 }, (_, at) => at * 7));
  const received: Buffer[] = [];
  const asked: Record<string, unknown>[] = [];
  let at = 0;
  let broken = false;
  await grid.vo.node('n1').daemon('mrc', (op, fields) => {
    asked.push({ op, ...fields });
    if (broken && (op === 'dump-read' || op === 'restore-commit')) throw new XosError('XOS_BAD_DUMP', 'cannot go on: the test says so');
    if (op === 'dump-begin') return at = 0, { transfer: 7 };
    if (op === 'restore-begin') return { transfer: 8 };
    if (op === 'dump-read') {
      const piece = contents.subarray(at, at += 100_001);
      return { data: piece.toString('base64'), end: piece.length === 0 };
    }
    if (op === 'restore-write') received.push(Buffer.from(String(fields['data']), 'base64'));
    return op === 'restore-commit' ? { inodes: 5, names: 6, bytes: 2048, empty: 1 } : {};
  });
  const file = join(directory, 'data.dump');
  const dumped = await grid.run(command, ['dump', 'data', file]);
  t.deepEqual([dumped.status, dumped.out], [0, `${file}: 488K\n`], dumped.err);
  t.deepEqual(readFileSync(file), contents);
  t.is(statSync(file).mode & 0o777, 0o600);
  const restored = await grid.run(command, ['restore', file, 'again', '--incomplete']);
  t.deepEqual([restored.status, restored.out], [0, 'again: 5 files, 6 names, 2.0K; 1 files are empty, since their contents are gone\n'], restored.err);
  t.deepEqual(Buffer.concat(received), contents);
  t.like(asked.at(-1), { op: 'restore-commit', transfer: 8, volume: 'again', incomplete: true });
  broken = true;
  const failed = await grid.run(command, ['dump', 'data', join(directory, 'other')]);
  t.is(failed.status, 1);
  t.regex(failed.err, /the test says so/);
  t.like(asked.at(-1), { op: 'transfer-end', transfer: 7 });
  t.is((await grid.run(command, ['restore', file, 'again'])).status, 1);
  t.like(asked.at(-1), { op: 'transfer-end', transfer: 8 });
  t.deepEqual(readdirSync(directory), ['data.dump']);
  t.regex((await grid.run(command, ['restore', join(directory, 'none'), 'again'])).err, /cannot read the dump '.*none'/);
});

test('an object server is drained with progress, used again, and removed', async (t) => {
  const grid = await startCli(t);
  const asked: unknown[] = [];
  let left = 2;
  await grid.vo.node('n1').daemon('mrc', (op, fields) => {
    if (op !== 'osd') return { volumes: [] };
    asked.push(fields['action']);
    if (fields['action'] === 'remove' && left > 0) throw new XosError('XOS_NOT_EMPTY', `cannot remove OSD 'n2': ${left} files are there still; wait until it is drained`);
    if (fields['action'] === 'status') --left;
    return { osd: 'n2', state: fields['action'] === 'use' ? 'used' : 'draining', drained: left === 0, left, moved: 3, moved_bytes: 2048, busy: left, failed: 0, reason: '' };
  });
  t.regex((await grid.run(command, ['osd', 'remove', 'n2'])).err, /2 files are there still/);
  const started = await grid.run(command, ['osd', 'drain', '--background', 'n2']);
  t.deepEqual([started.status, started.out], [0, 'n2: draining, 2 files are there, 2 wait for programs that use them\n']);
  const drained = await grid.run(command, ['osd', 'drain', 'n2']);
  t.deepEqual([drained.status, drained.out], [0, 'n2: draining, nothing is there\n'], drained.err);
  t.regex(drained.err, /2 files are there.*2\.0K moved/);
  t.is((await grid.run(command, ['osd', 'use', 'n2'])).status, 0);
  t.is((await grid.run(command, ['osd', 'remove', 'n2', '--json'])).status, 0);
  t.is((await grid.run(command, ['osd', 'drain', 'no such node'])).status, 1);
  t.deepEqual(asked, ['remove', 'drain', 'drain', 'status', 'status', 'use', 'remove']);
});

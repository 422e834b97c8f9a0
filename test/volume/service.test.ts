// The volume services of three nodes with real gRPC between them; the native daemons are scripts that answer as theirs do.
//   n1: dir mrc osd mount --- n2: osd mount --- n3: mount
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { XosError } from '../../src/core/errors.ts';
import { createVolumeService, type VolumeService } from '../../src/volume/index.ts';
import { alice, bob, startVo, until, type TestVo } from '../support/vo.ts';

interface Asked { readonly op: string; readonly [field: string]: unknown }
interface Grid {
  readonly vo: TestVo;
  readonly services: readonly VolumeService[];
  /** Operations that each daemon was asked for: `n1 mrc` and so on. */
  readonly asked: ReadonlyMap<string, Asked[]>;
  last(daemon: string, op: string): Asked | undefined;
  play(node: string, daemon: 'osd' | 'mrc' | 'mount'): ReturnType<TestVo['nodes'][number]['daemon']>;
}

const roles = { n1: ['dir', 'mrc', 'osd', 'mount'], n2: ['osd', 'mount'], n3: ['mount'] } as const;

async function start(t: ExecutionContext): Promise<Grid> {
  const vo = await startVo(['n1', 'n2', 'n3'], (node) => roles[node as keyof typeof roles]);
  const asked = new Map<string, Asked[]>();
  const volumes: Record<string, unknown>[] = [];
  const play: Grid['play'] = (node, daemon) => {
    const log = asked.get(`${node} ${daemon}`) ?? [];
    asked.set(`${node} ${daemon}`, log);
    return vo.node(node).daemon(daemon, (op, fields) => {
      log.push({ op, ...fields });
      if (op === 'stats') return { total_bytes: 2 ** 33, free_bytes: 2 ** 32, objects: 0 };
      if (op === 'volume-list') return { volumes };
      if (op === 'volume-create' && volumes.some(({ name }) => name === fields['name'])) throw new XosError('XOS_EXISTS', 'there is such a volume');
      if (op === 'volume-create') volumes.push({ used_bytes: 0, files: 0, ...fields, policy: { stripe_size: 4_194_304, width: 1, placement: 'with-mrc', ...(fields['policy'] as object) } });
      if (op === 'inode-show') return { volume: 'data', type: fields['inode'] === 77 ? 'directory' : 'volume', uid: bob.uid, policy: { stripe_size: 4096, width: 2, placement: 'local', atime: 'noatime' }, own_policy: true };
      if (op === 'usage') return { all: { bytes: 9, files: 2, bytes_max: 100, files_max: 0 }, users: [{ uid: bob.uid, bytes: 4, files: 1 }, { uid: alice.uid, bytes: 5, files: 1 }] };
      if (op === 'volume-remove') volumes.splice(volumes.findIndex(({ name }) => name === fields['name']), 1);
      return {};
    });
  };
  const services = vo.nodes.map(({ context }) => createVolumeService(context));
  t.teardown(async () => {
    await Promise.all(services.map((service) => service.stop()));
    await vo.stop();
  });
  for (const service of services) await service.start(new AbortController().signal);
  return { vo, services, asked, play, last: (daemon, op) => asked.get(daemon)?.findLast((each) => each.op === op) };
}

interface Osd { osd: string; up: boolean; key: string; port: number }
const osdsOf = (asked: Asked | undefined): Osd[] => (asked?.['osds'] ?? []) as Osd[];

test('MRC and OSDs get the same key for each pair, other keys for other pairs; mounts get the servers without keys', async (t) => {
  const { play, last } = await start(t);
  for (const [node, daemon] of [['n1', 'mrc'], ['n1', 'osd'], ['n2', 'osd'], ['n3', 'mount']] as const) await play(node, daemon);
  await until(() => osdsOf(last('n1 mrc', 'osds')).filter(({ up }) => up).length === 2);
  const osds = osdsOf(last('n1 mrc', 'osds'));
  for (const { osd, key } of osds) {
    t.regex(key, /^[0-9a-f]{64}$/);
    t.deepEqual(last(`${osd} osd`, 'keys')?.['keys'], [{ mrc: 'n1', key }]);
  }
  t.not(osds[0]?.key, osds[1]?.key);
  await until(() => osdsOf(last('n3 mount', 'servers')).filter(({ up }) => up).length === 2);
  t.like(last('n3 mount', 'servers'), { mrc: { node: 'n1', up: true } });
  t.false(JSON.stringify(last('n3 mount', 'servers')).includes('key'));
});

test('a daemon that is restarted gets everything again, with the same keys, also the mount while the DIR is away', async (t) => {
  const { vo, play, last, asked, services } = await start(t);
  const running = { osd: await play('n2', 'osd'), mount: await play('n3', 'mount'), mrc: await play('n1', 'mrc') };
  await until(() => osdsOf(last('n1 mrc', 'osds')).some(({ up }) => up) && osdsOf(last('n3 mount', 'servers')).some(({ up }) => up));
  const before = osdsOf(last('n1 mrc', 'osds'))[0]?.key;
  for (const name of ['osd', 'mount', 'mrc'] as const) await running[name].stop();
  for (const log of asked.values()) log.length = 0;
  await play('n2', 'osd');
  await play('n1', 'mrc');
  await until(() => osdsOf(last('n1 mrc', 'osds')).some(({ up }) => up) && last('n2 osd', 'keys') !== undefined);
  t.is(osdsOf(last('n1 mrc', 'osds'))[0]?.key, before);
  await services[0]!.stop();
  await play('n3', 'mount');
  await until(() => last('n3 mount', 'servers') !== undefined);
  void vo;
});

test('keys survive the DIR', async (t) => {
  const { play, last, services } = await start(t);
  await play('n2', 'osd');
  const mrc = await play('n1', 'mrc');
  await until(() => osdsOf(last('n1 mrc', 'osds')).some(({ up }) => up));
  const before = osdsOf(last('n1 mrc', 'osds'))[0]?.key;
  await services[0]!.stop();
  await mrc.stop();
  await services[0]!.start(new AbortController().signal);
  await play('n1', 'mrc');
  await until(() => last('n1 mrc', 'osds') !== undefined && osdsOf(last('n1 mrc', 'osds')).some(({ up }) => up));
  t.is(osdsOf(last('n1 mrc', 'osds'))[0]?.key, before);
});

test('a node may register only what the registry lets it be', async (t) => {
  const { vo } = await start(t);
  const { DirServiceDefinition } = await import('../../src/proto/xos/volume/v1/volume.ts');
  const dir = vo.node('n3').context.rpc.client('n1', DirServiceDefinition);
  await t.throwsAsync(dir.registerOsd({ serving: true, total_bytes: 1, free_bytes: 1, holds: [] }), { code: 'XOS_DENIED', message: /node 'n3' as osd/ });
  await t.throwsAsync(dir.registerMrc({ serving: true }), { code: 'XOS_DENIED' });
});

test('an OSD whose node is put out leaves the map', async (t) => {
  const { vo, play, last } = await start(t);
  for (const [node, daemon] of [['n1', 'mrc'], ['n1', 'osd'], ['n2', 'osd']] as const) await play(node, daemon);
  await until(() => osdsOf(last('n1 mrc', 'osds')).filter(({ up }) => up).length === 2);
  vo.change('n2', { state: 'revoked' });
  await until(() => osdsOf(last('n1 mrc', 'osds')).length === 1);
  t.is(osdsOf(last('n1 mrc', 'osds'))[0]?.osd, 'n1');
});

test('volumes are made, shown and removed from any node, by administrators', async (t) => {
  const { vo, play } = await start(t);
  await play('n1', 'mrc');
  interface Made { volume: { volume: string; owner: string; mode: number } }
  const made = (await vo.node('n3').api('volume-create', alice.uid, { volume: 'data', owner: 'bob', mode: 0o1777, policy: { width: 2 } })) as Made;
  t.like(made.volume, { volume: 'data', owner: 'bob', mode: 0o1777, policy: { stripe_size: 4_194_304, width: 2, placement: 'with-mrc' } });
  const list = async (): Promise<string[]> => ((await vo.node('n2').api('volume-list', bob.uid)) as { volumes: { volume: string }[] }).volumes.map(({ volume }) => volume);
  t.deepEqual(await list(), ['data']);
  t.like((await vo.node('n2').api('volume-show', bob.uid, { volume: 'data' })) as object, { volume: { volume: 'data' }, servers: { mrc: { node: 'n1' } } });
  await t.throwsAsync(vo.node('n3').api('volume-create', alice.uid, { volume: 'data' }), { code: 'XOS_EXISTS' });
  await t.throwsAsync(vo.node('n3').api('volume-create', bob.uid, { volume: 'mine' }), { code: 'XOS_DENIED' });
  await t.throwsAsync(vo.node('n3').api('volume-create', alice.uid, { volume: '../up' }), { code: 'XOS_BAD_NAME' });
  await t.throwsAsync(vo.node('n3').api('volume-create', alice.uid, { volume: 'x', owner: 'carol' }), { code: 'XOS_NO_USER' });
  await t.throwsAsync(vo.node('n3').api('volume-create', alice.uid, { volume: 'x', policy: { stripe_size: 5000 } }), { code: 'XOS_BAD_ARGUMENT' });
  await t.throwsAsync(vo.node('n3').api('volume-show', bob.uid, { volume: 'none' }), { code: 'XOS_NO_VOLUME', message: /xvolume list/ });
  await t.throwsAsync(vo.node('n2').api('volume-remove', bob.uid, { volume: 'data' }), { code: 'XOS_DENIED' });
  await vo.node('n2').api('volume-remove', alice.uid, { volume: 'data' });
  t.deepEqual(await list(), []);
  await t.throwsAsync(vo.node('n2').api('volume-remove', alice.uid, { volume: 'data' }), { code: 'XOS_NO_VOLUME' });
});

test('a home is made once however many logins ask, and ensure waits until the mount shows it', async (t) => {
  const { vo, play, services, last, asked } = await start(t);
  await play('n1', 'mrc');
  const home = { name: 'home.bob', uid: bob.uid, gid: bob.gid, mode: 0o700 };
  const { signal } = new AbortController();
  let done = 0;
  const waiting = [services[1]!, services[2]!, services[2]!].map((service) => service.ensure(home, signal).then(() => { done++; }));
  await until(() => last('n1 mrc', 'volume-create') !== undefined);
  t.is(done, 0);
  for (const node of ['n2', 'n3']) mkdirSync(join(vo.node(node).context.paths.grid, 'demo/home.bob'), { recursive: true });
  await Promise.all(waiting);
  t.is(((await vo.node('n2').api('volume-list', bob.uid)) as { volumes: object[] }).volumes.length, 1);
  t.true((asked.get('n1 mrc') ?? []).filter(({ op }) => op === 'volume-create').length >= 1);
  await t.throwsAsync(services[2]!.ensure({ ...home, name: 'loot' }, signal), { code: 'XOS_DENIED' });
  t.is(vo.node('n2').context.provided.volumes, services[1]!);
});

test('without its MRC an operation on volumes says so', async (t) => {
  const { vo } = await start(t);
  const error: XosError = await t.throwsAsync(vo.node('n3').api('volume-list', bob.uid));
  t.is(error.code, 'XOS_UNAVAILABLE');
});

test('policies are changed by owners and administrators, limits by administrators; others see their own use only', async (t) => {
  const { vo, play, last } = await start(t);
  for (const [node, daemon] of [['n1', 'mrc'], ['n1', 'osd'], ['n3', 'mount']] as const) await play(node, daemon);
  const n3 = vo.node('n3');
  t.like(await n3.api('volume-inspect', bob.uid, { inode: 77 }), { volume: 'data', type: 'directory', owner: 'bob', own_policy: true, stripes: null, policy: { width: 2, atime: 'noatime' } });
  await n3.api('volume-policy', bob.uid, { inode: 77, policy: { width: 3 } });
  t.like(last('n1 mrc', 'policy-set'), { inode: 77, policy: { width: 3 } });
  await n3.api('volume-policy', alice.uid, { volume: 'data', policy: { atime: 'relatime' } });
  t.like(last('n1 mrc', 'policy-set'), { volume: 'data', policy: { atime: 'relatime' } });
  await n3.api('volume-policy', bob.uid, { inode: 77, policy: null });
  t.is(last('n1 mrc', 'policy-set')?.['policy'], null);
  await t.throwsAsync(n3.api('volume-policy', 99_999, { inode: 77, policy: { width: 3 } }), { code: 'XOS_DENIED' });
  await t.throwsAsync(n3.api('volume-policy', bob.uid, { inode: 77, policy: { atime: 'noatime' } }), { code: 'XOS_BAD_ARGUMENT', message: /whole volume/ });
  await t.throwsAsync(n3.api('volume-policy', bob.uid, { inode: 77, policy: { stripe_size: 5000 } }), { code: 'XOS_BAD_ARGUMENT' });
  await t.throwsAsync(n3.api('volume-inspect', bob.uid, { inode: 1 }), { code: 'XOS_BAD_ARGUMENT' });

  await n3.api('volume-quota', alice.uid, { volume: 'data', user: 'bob', bytes_max: 10 });
  t.like(last('n1 mrc', 'quota-set'), { volume: 'data', uid: bob.uid, bytes_max: 10 });
  await t.throwsAsync(n3.api('volume-quota', bob.uid, { volume: 'data', bytes_max: 10 }), { code: 'XOS_DENIED' });
  await t.throwsAsync(n3.api('volume-quota', alice.uid, { volume: 'data', bytes_max: -1 }), { code: 'XOS_BAD_ARGUMENT' });
  await t.throwsAsync(n3.api('volume-quota', alice.uid, { volume: 'data', user: 'nobody-known', bytes_max: 1 }), { code: 'XOS_NO_USER' });
  const seen = async (uid: number): Promise<readonly string[]> => (await n3.api('volume-usage', uid, { volume: 'data' }) as { users: { user: string }[] }).users.map(({ user }) => user);
  t.deepEqual(await seen(alice.uid), ['alice', 'bob']);
  t.deepEqual(await seen(bob.uid), ['bob']);
  await t.throwsAsync(n3.api('volume-check', bob.uid, { repair: false }), { code: 'XOS_DENIED' });
  t.like(await n3.api('volume-check', alice.uid, { repair: true }), { problems: 0 });
  t.is(last('n1 mrc', 'check')?.['repair'], true);
});

test('replicas are changed by owners and administrators, and seen by anyone', async (t) => {
  const { vo } = await start(t);
  const asked: Record<string, unknown>[] = [];
  await vo.node('n1').daemon('mrc', (op, fields) => {
    if (op === 'inode-show') return { volume: 'data', type: 'file', uid: bob.uid };
    if (op === 'replicas') asked.push(fields);
    return { copies: [{ state: 'whole', osds: [{ osd: 'n1', node: 'n1', up: true }] }, { state: 'making', osds: [{ osd: 'n2', node: 'n2', up: false }] }], running: true, bytes: 5, bytes_total: 9, reason: '' };
  });
  const n3 = vo.node('n3');
  const seen = await n3.api('volume-replicas', 99_999, { inode: 77, action: 'status' });
  t.deepEqual(seen, { copies: [{ state: 'whole', osds: [{ osd: 'n1', node: 'n1', up: true }] }, { state: 'making', osds: [{ osd: 'n2', node: 'n2', up: false }] }], running: true, bytes: 5, bytes_total: 9, reason: '' });
  await n3.api('volume-replicas', bob.uid, { inode: 77, action: 'count', count: 3 });
  await n3.api('volume-replicas', alice.uid, { inode: 77, action: 'drop', osd: 'n2' });
  t.deepEqual(asked.map(({ inode, action, count, osd }) => [inode, action, count, osd]), [[77, 'status', undefined, undefined], [77, 'count', 3, undefined], [77, 'drop', undefined, 'n2']]);
  await t.throwsAsync(n3.api('volume-replicas', 99_999, { inode: 77, action: 'count', count: 2 }), { code: 'XOS_DENIED' });
  for (const count of [0, 17, 1.5]) await t.throwsAsync(n3.api('volume-replicas', bob.uid, { inode: 77, action: 'count', count }), { code: 'XOS_BAD_ARGUMENT' });
  await t.throwsAsync(n3.api('volume-replicas', bob.uid, { inode: 77, action: 'add', osd: 'no such node' }));
  await t.throwsAsync(n3.api('volume-replicas', bob.uid, { inode: 77, action: 'burn' }), { code: 'XOS_BAD_ARGUMENT' });
  t.is(asked.length, 3);
});

test('snapshots are made and removed by the owner of the volume and administrators, whoever owns the file that was named', async (t) => {
  const { vo } = await start(t);
  const asked: Record<string, unknown>[] = [];
  await vo.node('n1').daemon('mrc', (op, fields) => {
    if (op === 'inode-show') return { volume: 'data', type: 'volume' in fields ? 'volume' : 'file', uid: 'volume' in fields ? bob.uid : 99_999 };
    if (op === 'snapshot') asked.push(fields);
    return { ...(fields['action'] === 'create' ? { files: 12, writing: 2 } : {}), snapshots: [{ name: 'monday', root: 9, created_ms: 1_700_000_000_000 }] };
  });
  const n3 = vo.node('n3');
  const monday = { volume: 'data', snapshots: [{ name: 'monday', created_ms: 1_700_000_000_000 }] };
  t.deepEqual(await n3.api('volume-snapshots', 99_999, { inode: 77, action: 'list' }), { ...monday, files: 0, writing: 0 });
  t.deepEqual(await n3.api('volume-snapshots', bob.uid, { inode: 77, action: 'create', name: 'monday' }), { ...monday, files: 12, writing: 2 });
  await n3.api('volume-snapshots', alice.uid, { volume: 'data', action: 'remove', name: 'monday' });
  t.deepEqual(asked.map(({ inode, volume, action, name }) => [inode ?? volume, action, name]), [[77, 'list', undefined], [77, 'create', 'monday'], ['data', 'remove', 'monday']]);
  for (const action of ['create', 'remove']) await t.throwsAsync(n3.api('volume-snapshots', 99_999, { inode: 77, action, name: 'mine' }), { code: 'XOS_DENIED' });
  for (const name of ['', '.', '..', 'a/b', 'a\0b', 'é'.repeat(128), 5]) await t.throwsAsync(n3.api('volume-snapshots', bob.uid, { volume: 'data', action: 'create', name }), { code: 'XOS_BAD_ARGUMENT' });
  await t.throwsAsync(n3.api('volume-snapshots', bob.uid, { volume: 'data', action: 'burn', name: 'a' }), { code: 'XOS_BAD_ARGUMENT' });
  t.is(asked.length, 3);
});

test('only administrators look for orphans, and who goes away ends the look', async (t) => {
  const { vo } = await start(t);
  const actions: unknown[] = [];
  await vo.node('n1').daemon('mrc', (op, fields) => {
    if (op === 'sweep') actions.push(fields['action']);
    return { running: true, objects: 5 };
  });
  const n3 = vo.node('n3');
  await t.throwsAsync(n3.api('volume-orphans', bob.uid, { remove: true }), { code: 'XOS_DENIED' });
  await t.throwsAsync(n3.api('volume-osd', bob.uid, { osd: 'n2', action: 'drain' }), { code: 'XOS_DENIED' });
  await t.throwsAsync(n3.api('volume-osd', alice.uid, { osd: 'n2', action: 'burn' }), { code: 'XOS_BAD_ARGUMENT' });
  await t.throwsAsync(n3.api('volume-transfer', bob.uid, { step: 'dump-begin', volume: 'data' }), { code: 'XOS_DENIED' });
  await t.throwsAsync(n3.api('volume-transfer', alice.uid, { step: 'quota-set', volume: 'data' }), { code: 'XOS_BAD_ARGUMENT' });
  await t.throwsAsync(n3.api('volume-transfer', alice.uid, { step: 'restore-write', transfer: 1, data: 'no base64!' }), { code: 'XOS_BAD_ARGUMENT' });
  await t.throwsAsync(n3.api('volume-orphans', alice.uid, { remove: true, grace_ms: -1 }), { code: 'XOS_BAD_ARGUMENT' });
  t.deepEqual(actions, []);
  const leaving = new AbortController();
  const asked = n3.context.api.get('volume-orphans')?.({ ...alice, pid: 1 }, { remove: false }, leaving.signal) as AsyncGenerator<{ objects: number }>;
  t.is((await asked.next()).value.objects, 5);
  leaving.abort();
  await t.throwsAsync(asked.next());
  t.deepEqual(actions, ['start', 'stop']);
});

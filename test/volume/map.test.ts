import test from 'ava';
import type { NodeRecord } from '../../src/core/model.ts';
import { limits } from '../../src/volume/limits.ts';
import { goneMounts, osdsForMrc, serversForMount, type DirView, type OsdHeard } from '../../src/volume/map.ts';

const record = (node: string, state: NodeRecord['state'] = 'admitted'): NodeRecord => ({ node, address: `10.77.0.${node.slice(1)}`, port: 7001, roles: ['osd', 'mrc'], state });
const heard = (changes: Partial<OsdHeard> = {}): OsdHeard => ({ at_ms: 100_000, serving: true, total_bytes: 2 ** 33, free_bytes: 2 ** 32 + 5, holds: ['n1'], ...changes });

const view = (changes: Partial<DirView> = {}): DirView => ({
  state: { osds: { n1: { since_ms: 0 }, n2: { since_ms: 0 } }, mrcs: { n1: { since_ms: 0 } }, keys: { 'n1 n1': 'aa', 'n1 n2': 'bb' } },
  osds: new Map([['n1', heard()], ['n2', heard()]]), mrcs: new Map([['n1', { at_ms: 100_000, serving: true }]]), mounts: new Map(),
  nodeOf: (node) => record(node), now_ms: 100_000, ...changes,
});

test('an MRC gets each OSD with its own key and the address that the registry says', (t) => {
  t.deepEqual(osdsForMrc(view(), 'n1')[1], {
    osd: 'n2', node: 'n2', address: '10.77.0.2', port: 7003, key: 'bb', free_bytes: 2 ** 32, total_bytes: 2 ** 33, up: true,
  });
  t.deepEqual(osdsForMrc(view(), 'n7'), []);
});

const down = test.macro({
  title: (_given, what: string) => `an OSD is down for the MRC when ${what}`,
  exec: (t, _what: string, changes: Partial<OsdHeard> | null) => {
    const osds = new Map([['n1', heard()], ...(changes === null ? [] : [['n2', heard(changes)] as const])]);
    t.deepEqual(osdsForMrc(view({ osds }), 'n1').map(({ osd, up }) => `${osd} ${up}`), ['n1 true', 'n2 false']);
  },
});
test(down, 'it does not hold the key yet', { holds: [] });
test(down, 'its daemon does not answer', { serving: false });
test(down, 'it has been silent for too long', { at_ms: 100_000 - limits.silence_ms - 1 });
test(down, 'nothing was heard of it since the DIR began', null);

test('an OSD heard exactly at the bound of silence is up', (t) => {
  t.true(osdsForMrc(view({ osds: new Map([['n1', heard({ at_ms: 100_000 - limits.silence_ms })]]) }), 'n1')[0]?.up);
});

test('servers of a revoked node are in no map', (t) => {
  const put = view({ nodeOf: (node) => record(node, node === 'n2' ? 'revoked' : 'admitted') });
  t.deepEqual(osdsForMrc(put, 'n1').map(({ osd }) => osd), ['n1']);
  t.deepEqual(serversForMount(put).osds.map(({ osd }) => osd), ['n1']);
});

test('a mount gets no keys, and the MRC also while it is down', (t) => {
  const servers = serversForMount(view({ mrcs: new Map() }));
  t.deepEqual(servers.mrc, { node: 'n1', address: '10.77.0.1', port: 7004, up: false });
  t.true(servers.osds.every(({ key }) => key === ''));
  t.is(serversForMount(view({ state: { osds: {}, mrcs: {}, keys: {} } })).mrc, null);
});

test('a mount that was there and is silent, or whose node was put out, is gone', (t) => {
  const mounts = new Map([['n1', 100_000], ['n2', 100_000 - limits.mount_silence_ms - 1], ['n3', 100_000]]);
  t.deepEqual(goneMounts(view({ mounts, nodeOf: (node) => record(node, node === 'n3' ? 'revoked' : 'admitted') })), ['n2', 'n3']);
});

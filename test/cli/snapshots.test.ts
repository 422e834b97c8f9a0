import test from 'ava';
import { snapshotRows } from '../../src/cli/snapshots.ts';

test('snapshots are shown in the order of their making, with the time', (t) => {
  const made = Date.UTC(2026, 10, 23, 8, 5, 9, 120);
  t.deepEqual(snapshotRows({ snapshots: [{ name: 'monday', created_ms: made }, { name: 'a b', created_ms: made + 1000 }] }),
    [{ name: 'monday', made: '2026-11-23T08:05:09Z' }, { name: 'a b', made: '2026-11-23T08:05:10Z' }]);
  t.deepEqual(snapshotRows({ snapshots: [] }), []);
});

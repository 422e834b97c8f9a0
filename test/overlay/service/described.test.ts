import test from 'ava';
import { XosError } from '../../../src/core/errors.ts';
import { Described } from '../../../src/overlay/service/described.ts';
import { limits } from '../../../src/overlay/service/limits.ts';

const code = (t: { throws: (run: () => void) => Error | undefined }, run: () => void): string => (t.throws(run) as XosError).code;

test('attributes are set, changed and taken back; what is wrong changes nothing', (t) => {
  const described = new Described({ rack: 7 });
  described.change({ rack: 8, libs: ['a', 'b'] }, []);
  t.deepEqual(described.attributes, { rack: 8, libs: ['a', 'b'] });
  for (const set of [{ Rack: 1 }, { roles: 'x' }, { metrics: ['x'] }, { 'overlay.key': 'x' }, { 'metric.x': 1 }, { rack: Number.NaN }, { rack: null }, { text: 'x'.repeat(200) }]) t.is(code(t, () => described.change(set, [])), 'XOS_BAD_ARGUMENT', JSON.stringify(set));
  t.is(code(t, () => described.change({}, 'rack')), 'XOS_BAD_ARGUMENT');
  t.deepEqual(described.attributes, { rack: 8, libs: ['a', 'b'] });
  described.change({}, ['rack', 'unheard']);
  t.deepEqual(described.attributes, { libs: ['a', 'b'] });
});

test('a metric belongs to who gave it first, lives as long as was said, and there are only so many', (t) => {
  const described = new Described({});
  t.true(described.measure('queue', 5, 1_000, 0, 2_000));
  t.false(described.measure('queue', 6, 1_000, 1_000, 2_000), 'no new name');
  t.deepEqual(described.values(1_000), { 'metric.queue': 6 });
  t.is(code(t, () => described.measure('queue', 7, 1_001, 1_000, 2_000)), 'XOS_DENIED');
  t.false(described.measure('queue', 8, 0, 1_000, 2_000), 'root may');
  t.deepEqual(described.names(3_001), []);
  t.true(described.measure('queue', 7, 1_001, 3_002, 2_000));
  for (const [name, value, life_ms] of [['Q', 1, 2_000], ['x'.repeat(40), 1, 2_000], ['q', Number.NaN, 2_000], ['q', '1', 2_000], ['q', 1, 10], ['q', 1, Number.NaN], ['q', 1, 1e9]] as const) t.is(code(t, () => described.measure(name, value, 0, 0, life_ms)), 'XOS_BAD_ARGUMENT');
  for (let i = 0; i < limits.metrics_per_user_max; i++) described.measure(`own${i}`, i, 1_002, 3_002, 60_000);
  t.is(code(t, () => described.measure('one-more', 1, 1_002, 3_002, 60_000)), 'XOS_BUSY');
  while (described.names(3_002).length < limits.metrics_max) described.measure(`root${described.names(3_002).length}`, 1, 0, 3_002, 60_000);
  t.is(code(t, () => described.measure('last', 1, 0, 3_002, 60_000)), 'XOS_BUSY');
});

import test from 'ava';
import { growth, parseMetrics, quantile, total } from '../../src/core/exposition.ts';

const text = (count: number, slow: number): string => `# HELP xos_a_total What.
# TYPE xos_a_total counter
xos_a_total{op="read",node="n 1"} ${count}
xos_a_total{op="write"} 2
xos_plain 1.5
xos_s_seconds_bucket{op="read",le="0.001"} ${count}
xos_s_seconds_bucket{op="read",le="0.002"} ${count + slow}
xos_s_seconds_bucket{op="read",le="+Inf"} ${count + slow}
xos_s_seconds_bucket{op="write",le="0.001"} 0
xos_s_seconds_bucket{op="write",le="+Inf"} 1
`;

test('series are read with their labels, and summed over them', (t) => {
  const metrics = parseMetrics(`${text(5, 0)}\nnonsense\nxos_bad x\n`);
  t.is(total(metrics, 'xos_a_total'), 7);
  t.is(total(metrics, 'xos_a_total', 'op="write"'), 2);
  t.is(total(metrics, 'xos_plain'), 1.5);
  t.is(total(metrics, 'xos_bad'), 0);
  t.is(total(metrics, 'xos_a'), 0, 'a name is whole');
});

test('growth is that between two readings, or all since a restart', (t) => {
  t.is(growth(parseMetrics(text(5, 0)), parseMetrics(text(9, 0)), 'xos_a_total'), 4);
  t.is(growth(null, parseMetrics(text(9, 0)), 'xos_a_total'), 11);
  t.is(growth(parseMetrics(text(50, 0)), parseMetrics(text(9, 0)), 'xos_a_total'), 11);
});

test('a quantile is the bound of a bucket of what was observed in between', (t) => {
  const before = parseMetrics(text(100, 0));
  t.is(quantile(before, before, 'xos_s_seconds', 0.95), null);
  t.is(quantile(before, parseMetrics(text(200, 0)), 'xos_s_seconds', 0.95), 0.001);
  t.is(quantile(before, parseMetrics(text(200, 50)), 'xos_s_seconds', 0.95), 0.002);
  t.is(quantile(null, parseMetrics('xos_s_seconds_bucket{le="0.001"} 0\nxos_s_seconds_bucket{le="+Inf"} 3\n'), 'xos_s_seconds', 0.5), Infinity);
});

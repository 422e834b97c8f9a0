import test from 'ava';
import { parseMetrics, total } from '../../../src/core/exposition.ts';
import { exposition } from '../../../src/overlay/service/exposition.ts';

const status = { node: 'n1', running: true, reason: '', known: 41, links: ['n2', 'n3'], messages_kept: 7, bytes_kept: 900, publishers: 2, subscriptions: 1, counters: { 'rejected.flood': 12, 'rejected.stale': 3, 'transport.sent': 100 } };

test('what the overlay counts comes back as our own reader of the format reads it', (t) => {
  const metrics = parseMetrics(exposition(status));
  t.is(total(metrics, 'xos_overlay_up'), 1);
  t.is(total(metrics, 'xos_overlay_links'), 2);
  t.is(total(metrics, 'xos_overlay_events_total', 'event="rejected.flood"'), 12);
  t.is(total(metrics, 'xos_overlay_events_total', 'event="rejected.'), 15);
});

test('every line is a comment or a sample, and every sample has its type before it', (t) => {
  const typed = new Set<string>();
  for (const line of exposition(status).trimEnd().split('\n')) {
    const type = /^# TYPE (\w+) (?:gauge|counter)$/.exec(line);
    if (type !== null) typed.add(type[1]!);
    else if (!line.startsWith('# HELP ')) t.true(typed.has(/^(\w+)(?:\{event="[\w.]+"\})? [0-9]+$/.exec(line)?.[1] ?? ''), line);
  }
  t.notRegex(exposition({ ...status, running: false, counters: {} }), /events_total/);
});

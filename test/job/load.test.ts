import { readFileSync } from 'node:fs';
import test from 'ava';
import { measure, parseCounters, type Counters } from '../../src/job/load.ts';
import type { Usage } from '../../src/job/model.ts';

const counters = (busy_seconds: number): Counters => ({ cpus: 4, busy_seconds, memory_free_bytes: 2 ** 30, memory_total_bytes: 2 ** 32 });
const cell = (job: string, cpu_seconds: number): Usage => ({ job, home: 'n1', uid: 1, processes: 1, cpu_seconds, memory_bytes: 0 });

test("this machine's own counters are understood", (t) => {
  const found = parseCounters(readFileSync('/proc/stat', 'utf8'), readFileSync('/proc/meminfo', 'utf8'));
  t.true(found.cpus >= 1 && found.busy_seconds > 0);
  t.true(found.memory_free_bytes > 0 && found.memory_free_bytes < found.memory_total_bytes);
});

test('idle and iowait are not busy, guest time is not counted twice, steal is busy', (t) => {
  const stat = 'cpu  100 10 30 9000 500 5 5 50 70 7\ncpu0 100 10 30 9000 500 5 5 50 70 7\nintr 1\n';
  const found = parseCounters(stat, 'MemTotal:  2000 kB\nMemFree: 1 kB\nMemAvailable:   1000 kB\n');
  t.deepEqual(found, { cpus: 1, busy_seconds: 2, memory_free_bytes: 1_024_000, memory_total_bytes: 2_048_000 });
});

test('a format that is not known is an error, not a zero', (t) => {
  t.throws(() => parseCounters('', ''), { code: 'XOS_INTERNAL' });
  t.throws(() => parseCounters('cpu  1 2 3 4 5 6 7 8\ncpu0 1 2 3 4 5 6 7 8\n', 'MemTotal: 5 kB\n'), { code: 'XOS_INTERNAL' });
});

test('what jobs use is not other load; an old idle job holds no CPU, a young one a whole one', (t) => {
  let { sample } = measure('n1', null, counters(100), [cell('n1-1', 0), cell('n1-2', 0)], [], 0);
  let report;
  for (let second = 1; second <= 10; second++) {
    // n1-1 burns one CPU, n1-2 sleeps, something else burns two.
    ({ sample, report } = measure('n1', sample, counters(100 + 3 * second), [cell('n1-1', second), cell('n1-2', 0.01)], [], second * 1000));
  }
  t.is(report?.running, 1);
  t.is(report?.load, 2);
  ({ report } = measure('n1', sample, counters(133), [cell('n1-1', 11), cell('n1-2', 0.01), cell('n1-3', 0)], [], 11_000));
  t.is(report.running, 2);
});

test('a stream of short jobs is not other load', (t) => {
  let { sample } = measure('n1', null, counters(0), [], [], 0);
  let report;
  for (let second = 1; second <= 10; second++) {
    // Ten jobs of 0.2 s ended in this second; one of them was seen half way.
    const ended = Array.from({ length: 10 }, (_each, index) => ({ job: `n1-${second * 10 + index}`, cpu_seconds: 0.2 }));
    ({ sample, report } = measure('n1', sample, counters(2 * second + (second < 10 ? 0.1 : 0)), [cell(`n1-${second * 10 + 10}`, 0.1)], ended, second * 1000));
    t.is(report.load, 0, `second ${second}`);
  }
  t.is(report?.running, 1);
});

test('other load counts once it is nearly a whole CPU', (t) => {
  const loadAt = (cpus: number): number => {
    let { sample } = measure('n1', null, counters(0), [], [], 0);
    let report;
    for (let second = 1; second <= 20; second++) ({ sample, report } = measure('n1', sample, counters(cpus * second), [], [], second * 1000));
    return report?.load ?? -1;
  };
  t.deepEqual([0, 0.5, 0.74, 0.76, 1, 1.7, 3].map(loadAt), [0, 0, 0, 1, 1, 1, 3]);
});

test('a job on many CPUs holds as many', (t) => {
  let { sample } = measure('n1', null, counters(0), [cell('n1-1', 0)], [], 0);
  let report;
  for (let second = 1; second <= 10; second++) ({ sample, report } = measure('n1', sample, counters(3 * second), [cell('n1-1', 3 * second)], [], second * 1000));
  t.is((report?.running ?? 0) + (report?.load ?? 0), 3);
});

test('counters that go backwards (a cell that was replaced, a clock that stood still) give no negative load', (t) => {
  const { sample } = measure('n1', null, counters(100), [cell('n1-1', 50)], [], 1000);
  t.is(measure('n1', sample, counters(90), [cell('n1-1', 0)], [], 2000).report.load, 0);
  t.is(measure('n1', sample, counters(101), [cell('n1-1', 51)], [], 1000).report.load, 0);
});

import test from 'ava';
import { formatBytes, formatCpu, formatTime, parseBytes } from '../../../src/cli/lib/units.ts';

test('bytes take five characters at most', (t) => {
  t.deepEqual([0, 999, 1000, 1023, 1024, 10_240, 1_023_999, 5 * 1024 ** 3, 999 * 1024 ** 4].map(formatBytes),
    ['0', '999', '1.0K', '1.0K', '1.0K', '10K', '1.0M', '5.0G', '999T']);
});

test('CPU time reads as a clock once it is a minute', (t) => {
  t.deepEqual([0, 0.423, 12, 59.94, 59.96, 187, 7387].map(formatCpu), ['0.00', '0.42', '12.0', '59.9', '1:00', '3:07', '2:03:07']);
});

test('a time of today has no date', (t) => {
  const now = new Date(2026, 10, 22, 18, 30, 0).getTime();
  t.is(formatTime(new Date(2026, 10, 22, 8, 4, 9).getTime(), now), '08:04:09');
  t.is(formatTime(new Date(2026, 2, 1, 8, 4, 9).getTime(), now), 'Mar 01 08:04');
});

test('sizes are read in binary units', (t) => {
  t.deepEqual(['4096', '128K', '1M', '1.5 M', '1MiB', '2g'].map(parseBytes), [4096, 131072, 1048576, undefined, 1048576, 2147483648]);
  t.is(parseBytes('-1'), undefined);
});

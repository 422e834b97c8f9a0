import test from 'ava';
import { XosError, asXosError, describe } from '../../src/core/errors.ts';
import { parseJobId, parseNodeId, parseQualifiedUser, parseUri, parseUserName, parseVoName } from '../../src/core/ids.ts';
import { coalesce, keepTrying } from '../../src/core/signal.ts';
import { formatBytes, formatDuration, parseDuration } from '../../src/core/units.ts';
import { ManualClock, keptLog } from '../support/ports.ts';

test('names that are safe everywhere pass, others do not', (t) => {
  for (const good of ['alice', 'a', '_svc', 'a.b-c_d9']) t.is(parseUserName(good), good);
  for (const bad of ['', 'Alice', '9a', 'a b', 'a:b', 'a/b', '../a', 'a\n', 'a@b', 'ü', 'x'.repeat(32), null, 5]) t.is(t.throws<XosError>(() => parseUserName(bad)).code, 'XOS_BAD_NAME');
  for (const bad of ['', 'demo.x', 'de_mo', '-demo', 'x'.repeat(32)]) t.throws(() => parseVoName(bad));
  t.throws(() => parseNodeId('n1.x'));
});

test('alice@demo, n1-42 and the URIs are read, and nothing like them', (t) => {
  t.deepEqual(parseQualifiedUser('alice@demo'), { user: 'alice', vo: 'demo' });
  for (const bad of ['alice', '@demo', 'alice@', 'a@b@c', 7]) t.throws(() => parseQualifiedUser(bad));
  t.deepEqual(parseJobId('a-b-42'), { home: 'a-b', number: 42 });
  for (const bad of ['n1', 'n1-', '-5', 'n1-x', 'n1-1234567890123456']) t.throws(() => parseJobId(bad));
  t.deepEqual(parseUri('xos://demo/node/n1'), { vo: 'demo', kind: 'node', name: 'n1' });
  t.deepEqual(parseUri('xos://demo/registry'), { vo: 'demo', kind: 'registry', name: '' });
  for (const bad of ['xos://demo/node', 'xos://demo/node/', 'xos://demo/registry/x', 'xos://demo/node/n1/x', 'xos:///node/n1', 'http://demo/node/n1', 'xos://demo/boss/n1']) t.is(parseUri(bad), null, bad);
});

test('errors keep code and data over a wire and leave their cause at home', (t) => {
  const error = new XosError('XOS_A', 'cannot', { n: 1 }, { cause: new Error('/secret/path') });
  const wire = JSON.parse(JSON.stringify(error.toWire())) as never;
  t.false(JSON.stringify(wire).includes('secret'));
  const back = XosError.fromWire(wire);
  t.deepEqual([back.code, back.message, back.data], ['XOS_A', 'cannot', { n: 1 }]);
  t.is(asXosError(new Error('x')).code, 'XOS_INTERNAL');
  t.is(asXosError(new DOMException('x', 'AbortError')).code, 'XOS_ABORTED');
  t.is(describe(error), 'cannot: /secret/path');
});

test('durations and sizes', (t) => {
  t.deepEqual(['90', '90s', '15m', '8h', '7d', '250ms', '1.5s'].map(parseDuration), [90_000, 90_000, 900_000, 28_800_000, 604_800_000, 250, 1_500]);
  for (const bad of ['', 'x', '-1', '1y', '1 s']) t.throws(() => parseDuration(bad));
  t.deepEqual([0, 1023, 1536, 5 * 2 ** 30].map(formatBytes), ['0 B', '1023 B', '1.5 KiB', '5.0 GiB']);
  t.deepEqual([40, 12_000, 7_500_000, 90_000_000].map(formatDuration), ['40 ms', '12 s', '2 h 5 min', '1 d 1 h']);
});

test('work that must come back is tried with growing pauses and one line per reason', async (t) => {
  const clock = new ManualClock();
  const { log, lines } = keptLog();
  const stop = new AbortController();
  let tries = 0;
  const done = keepTrying(async () => {
    tries++;
    throw new Error('away');
  }, { clock, log, what: 'calling', signal: stop.signal, ms_min: 100, ms_max: 400 });
  for (const [ms, expected] of [[0, 1], [99, 1], [1, 2], [199, 2], [1, 3], [399, 3], [1, 4], [399, 4], [1, 5]] as const) {
    clock.advance(ms);
    await new Promise((resolve) => setImmediate(resolve));
    t.is(tries, expected);
  }
  t.is(lines.length, 1);
  stop.abort();
  await done;
});

test('coalesced work runs one at a time, and once more for what came meanwhile', async (t) => {
  let runs = 0;
  let running = 0;
  const work = coalesce(async () => {
    t.is(++running, 1);
    runs++;
    await new Promise((resolve) => setImmediate(resolve));
    running--;
  }, (thrown) => t.fail(String(thrown)));
  for (let count = 0; count < 10; count++) work();
  for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
  t.is(runs, 2);
});

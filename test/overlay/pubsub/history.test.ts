// What a node keeps for those who were away, and that no more than that stays in memory.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import test from 'ava';
import { History } from '../../../src/overlay/pubsub/history.ts';
import { limits } from '../../../src/overlay/pubsub/limits.ts';
import { Reader, Writer } from '../../../src/overlay/core/index.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

test('a message that is too old, or one too many, is gone from memory', async (t) => {
  const history = new History();
  const first = ((): WeakRef<Uint8Array> => {
    const bytes = new Uint8Array(40_000);
    t.is(history.add(1, 1, 1, bytes, 0), 'new');
    return new WeakRef(bytes);
  })();
  for (let seq = 2; seq <= 250; seq++) history.add(2, 1, seq, new Uint8Array(40_000), 0);
  t.true(history.bytes <= limits.history_bytes_max && history.messages < 250);
  const kept = new WeakRef(history.get(2)!.messages.get(250)!.bytes);
  // What a WeakRef was asked for lives until the turn is over.
  await new Promise((resolve) => setImmediate(resolve));
  collect();
  t.is(first.deref(), undefined, 'pushed out');
  t.not(kept.deref(), undefined);
  history.expire(limits.history_ms + 1);
  t.is(history.messages, 0);
  await new Promise((resolve) => setImmediate(resolve));
  collect();
  t.is(kept.deref(), undefined, 'too old');
});

test('what is read of a message holds no more memory than it needs', (t) => {
  const frame = Buffer.from(new Writer().bytes(Buffer.from('a short one')).done());
  const bytes = new Reader(frame).bytes(100);
  t.is(bytes.toString(), 'a short one');
  t.is(bytes.buffer.byteLength, bytes.length);
});

test('messages are handed on in order, what is missing is told by its range, and a new epoch begins anew', (t) => {
  const history = new History();
  for (const seq of [1, 2, 5]) history.add(7, 1, seq, Buffer.alloc(1), 0, 3, 9);
  const origin = history.get(7)!;
  t.deepEqual([history.advance(origin, 0)?.seq, history.advance(origin, 0)?.seq, history.advance(origin, 0)], [1, 2, null]);
  t.deepEqual(history.missing(origin, 8), [{ from: 3, to: 4 }]);
  t.is(origin.messages.get(5)?.hops, 3);
  t.deepEqual(history.skip(origin, 4), { from: 3, to: 4 });
  t.is(history.advance(origin, 0)?.seq, 5);
  t.is(history.add(7, 2, 1, Buffer.alloc(1), 0), 'new');
  t.is(history.add(7, 1, 6, Buffer.alloc(1), 0), 'stale');
  t.is(history.add(7, 2, 1, Buffer.alloc(1), 0), 'known');
});

import { setTimeout } from 'node:timers/promises';
import test from 'ava';
import { whyEnded } from '../../../src/overlay/service/late.ts';

test('a wait whose time is over says what was waited for, and what to do', async (t) => {
  const signal = AbortSignal.timeout(1);
  while (!signal.aborted) await setTimeout(1); // its own timer does not keep a process alive
  t.like(whyEnded(signal, 'nobody answered in time; try again'), { code: 'XOS_TIMEOUT', message: 'nobody answered in time; try again', cause: signal.reason });
});

test('one that was given up passes on why', (t) => {
  const reason = new Error('the caller went away');
  t.is(whyEnded(AbortSignal.abort(reason), 'not this'), reason);
});

import { setTimeout as sleep } from 'node:timers/promises';
import type { Clock } from '../core/ports.ts';

export const systemClock: Clock = {
  now_ms: () => Date.now(),
  monotonic_ms: () => performance.now(),
  sleep: (ms, signal) => sleep(ms, undefined, { signal }),
  deadline(ms, signal) {
    // AbortSignal.timeout holds no reference on the event loop and is freed with the last user of the signal.
    const timeout = AbortSignal.timeout(Math.max(0, Math.ceil(ms)));
    return signal === undefined ? timeout : AbortSignal.any([timeout, signal]);
  },
};

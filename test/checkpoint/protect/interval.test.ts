import test from 'ava';
import { limits } from '../../../src/checkpoint/limits.ts';
import { nextInterval, optimalInterval } from '../../../src/checkpoint/protect/interval.ts';

const hour = 3_600_000;

/** Daly 2006, eq. 20: expected time to finish `work` with failures at random, without the time of a restart. */
const expected = (work: number, interval: number, cost: number, mtbf: number): number => mtbf * (Math.exp((interval + cost) / mtbf) - 1) * (work / interval);

test('with cheap checkpoints the interval is the one of Young', (t) => {
  for (const [cost, mtbf] of [[100, 24 * hour], [1_000, 168 * hour], [10, hour]] as const) {
    t.true(Math.abs(optimalInterval(cost, mtbf) / Math.sqrt(2 * cost * mtbf) - 1) < 0.02, `${cost} ms, ${mtbf / hour} h`);
  }
});

test('no other interval finishes sooner, by more than a thousandth', (t) => {
  for (const [cost, mtbf] of [[100, hour], [60_000, 24 * hour], [600_000, 10 * hour], [hour, 10 * hour]] as const) {
    const best = optimalInterval(cost, mtbf);
    const least = expected(1, best, cost, mtbf);
    for (let factor = 0.2; factor < 5; factor += 0.05) t.true(expected(1, best * factor, cost, mtbf) > least * 0.999, `${cost} ms, ${mtbf / hour} h, times ${factor}`);
  }
});

test('who fails all the time checkpoints once in that time', (t) => {
  t.is(optimalInterval(2 * hour, hour), hour);
  t.true(Number.isFinite(optimalInterval(0, hour)));
});

test('an interval that is found stays within its bounds, and leaves most of the time to the job', (t) => {
  t.is(nextInterval(0, 1, hour), limits.interval_ms_min);
  t.is(nextInterval(0, 1_000, 1e6 * hour), limits.interval_ms_max);
  t.is(nextInterval(0, 1_000, 168 * hour), optimalInterval(1_000, 168 * hour));
  for (const cost of [1, 1e3, 1e5, 1e6, 1e7]) t.true(nextInterval(0, cost, hour) >= cost * limits.found_cost_times_min);
});

test('one that was asked for is kept to, unless the job would hardly work', (t) => {
  t.is(nextInterval(60, 500, hour), 60_000);
  t.is(nextInterval(10, 30_000, hour), 60_000);
});

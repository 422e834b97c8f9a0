import test from 'ava';
import { attemptDelay, attempt_rules, Attempts, type AttemptKey } from '../../src/vo/attempts.ts';

const place: AttemptKey = ['place', 'alice n1'];
const times = (count: number, work: () => void): void => {
  for (let done = 0; done < count; done++) work();
};

test('the first failures cost nothing, further ones double the wait up to a bound', (t) => {
  t.deepEqual([1, 4, 5, 6, 7, 8].map((failures) => attemptDelay(failures, attempt_rules.place)), [0, 0, 1_000, 2_000, 4_000, 8_000]);
  for (const rule of Object.values(attempt_rules)) {
    for (let failures = 0; failures < 200; failures++) t.true(attemptDelay(failures + 1, rule) >= attemptDelay(failures, rule));
    t.is(attemptDelay(10_000, rule), rule.ms_max);
  }
});

test('nobody can keep a member out for more than a minute, however many guesses', (t) => {
  const attempts = new Attempts();
  times(10_000, () => attempts.failed([place, ['member', 'alice']], 1_000));
  t.is(attempts.wait_ms([place, ['member', 'alice']], 1_000), 60_000);
  t.is(attempts.wait_ms([place], 61_000), 0);
});

test('failures at one place do not count at another, those of one source count for all names', (t) => {
  const attempts = new Attempts();
  times(8, () => attempts.failed([place], 0));
  t.is(attempts.wait_ms([['place', 'alice n2']], 0), 0);
  times(30, () => attempts.failed([['source', '192.0.2.1']], 0));
  t.is(attempts.wait_ms([['place', 'bob n1'], ['source', '192.0.2.1']], 0), 512_000);
});

test('quiet, an unlock and a right password forgive', (t) => {
  const attempts = new Attempts();
  times(9, () => attempts.failed([place], 0));
  t.is(attempts.get(place, 3_600_001), null);
  t.true(attempts.clear([place]));
  t.false(attempts.clear([place]));
  t.is(attempts.wait_ms([place], 1), 0);
});

test('a clock that is set back does not lock for ever', (t) => {
  const attempts = new Attempts();
  times(40, () => attempts.failed([place], 1_000_000_000));
  t.is(attempts.wait_ms([place], 0), 60_000);
});

test('memory is bounded, and names that were made up do not push a source out', (t) => {
  const attempts = new Attempts({ entries_max: 100 });
  times(30, () => attempts.failed([['source', '192.0.2.1']], 0));
  for (let made = 0; made < 5_000; made++) attempts.failed([['place', `user${made} n1`]], made);
  t.true(attempts.save().length < 20_000);
  t.true(attempts.wait_ms([['source', '192.0.2.1']], 0) > 0);
  t.not(attempts.get(['place', 'user4999 n1'], 5_000), null);
  t.is(attempts.get(['place', 'user1 n1'], 5_000), null);
});

test('what is counted survives a restart; what is damaged is left out', (t) => {
  const attempts = new Attempts();
  times(7, () => attempts.failed([place, ['source', '::1']], 10));
  const again = new Attempts();
  again.load(attempts.save());
  t.deepEqual(again.list('place', 'alice ', 10), attempts.list('place', 'alice ', 10));
  t.is(again.wait_ms([place], 10), 4_000);
  for (const odd of ['{"place":[["x",null],["y",{"failures":"1"}],5]}', '{"place":5}', '{}', '[]']) t.notThrows(() => new Attempts().load(odd), odd);
  t.throws(() => new Attempts().load('{'));
});

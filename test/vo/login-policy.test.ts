import test from 'ava';
import type { XosError } from '../../src/core/errors.ts';
import { default_login_policy, parsePolicyChange, policyOf } from '../../src/vo/login-policy.ts';

test('a change is taken within its bounds, and refused with what may stand there', (t) => {
  t.deepEqual(parsePolicyChange({ password_cost: 9, logout: 'kill' }), { password_cost: 9, logout: 'kill' });
  for (const [change, said] of [
    [{ password_cost: 3 }, /'password_cost' is a whole number from 4 to 9/], [{ password_cost: 10 }, /from 4 to 9/], [{ password_cost: 4.5 }, /whole number/], [{ password_cost: '5' }, /whole number/],
    [{ logout: 'perhaps' }, /'leave' or 'kill'/], [{ constructor: 1 }, /there is no 'constructor'/], [null, /no object/],
  ] as const) {
    const { code, message } = t.throws<XosError>(() => parsePolicyChange(change));
    t.is(code, 'XOS_BAD_ARGUMENT');
    t.regex(message, said);
  }
});

test('what an older document does not say is the default', (t) => {
  t.deepEqual(policyOf({ offline_hours_max: 2 }), { ...default_login_policy, offline_hours_max: 2 });
  t.deepEqual(policyOf(undefined), default_login_policy);
});

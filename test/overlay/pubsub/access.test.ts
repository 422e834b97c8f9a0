import test from 'ava';
import { XosError } from '../../../src/core/errors.ts';
import { Access, type Principal } from '../../../src/overlay/pubsub/access.ts';

const node: Principal = { kind: 'node', node: 'n1' };
const alice: Principal = { kind: 'user', user: 'alice', uid: 1001, roles: [] };
const admin: Principal = { kind: 'user', user: 'root-of-vo', uid: 1002, roles: ['admin'] };
const access = new Access('demo');
const may = (principal: Principal, topic: string, rules = access): boolean => rules.publish(principal, topic.split('/')).allowed;
const hears = (principal: Principal, pattern: string, rules = access): string => {
  const { allowed, own_uid } = rules.subscribe(principal, pattern.split('/'));
  return !allowed ? 'no' : own_uid === null ? 'all' : `own ${own_uid}`;
};

test('members talk below app, nodes everywhere in their VO, and of their own jobs only', (t) => {
  t.true(may(alice, 'demo/app/x') && may(node, 'demo/app/x') && may(node, 'demo/vo/membership') && may(node, 'demo/jobs/n1-4/state'));
  t.false(may(alice, 'demo/jobs/n1-4/state') || may(alice, 'demo/vo/membership') || may(alice, 'demo/other') || may(admin, 'demo/vo/membership'));
  t.false(may(node, 'demo/jobs/n2-4/state') || may(node, 'demo/jobs/n1x-4/state') || may(node, 'other/app/x') || may(alice, 'other/app/x'));
});

test('members hear of their own jobs, administrators and nodes of all', (t) => {
  t.is(hears(alice, 'demo/app/#'), 'all');
  t.is(hears(alice, 'demo/jobs/+/state'), 'own 1001');
  t.is(hears(alice, 'demo/#'), 'no');
  t.is(hears(alice, 'demo/+/x'), 'no');
  t.is(hears(alice, 'demo/vo/#'), 'no');
  for (const principal of [node, admin]) for (const pattern of ['demo/#', 'demo/jobs/#', 'demo/vo/+', 'demo/app/x']) t.is(hears(principal, pattern), 'all', pattern);
  t.is(hears(node, 'other/#'), 'no');
});

test("a site's rules come first", (t) => {
  const rules = new Access('demo', [{ pattern: 'demo/app/secret/#', publish: ['role:operator'], subscribe: ['user:bob'] }]);
  const bob: Principal = { ...alice, user: 'bob', roles: ['operator'] };
  t.true(may(bob, 'demo/app/secret/x', rules));
  t.false(may(alice, 'demo/app/secret/x', rules));
  t.is(hears(bob, 'demo/app/secret/#', rules), 'all');
  t.is(hears(alice, 'demo/app/secret/#', rules), 'no');
  t.is(hears(alice, 'demo/app/#', rules), 'no', 'a pattern that touches what is forbidden is refused');
  t.is(hears(alice, 'demo/app/open', rules), 'all');
});

test('rules that cannot be are refused', (t) => {
  for (const rule of [{ pattern: 'other/x', publish: [], subscribe: [] }, { pattern: 'demo/x', publish: ['everybody'], subscribe: [] }, { pattern: 'demo/#/x', publish: [], subscribe: [] }]) {
    t.throws(() => new Access('demo', [rule]), { instanceOf: XosError });
  }
});

import test from 'ava';
import { XosError } from '../../src/core/errors.ts';
import { parseConfig } from '../../src/daemon/config.ts';

const least = { node: 'n1', address: '10.77.0.1', roles: ['relay', 'mount'] };

test('the least configuration gets the defaults', (t) => {
  t.deepEqual(parseConfig(JSON.stringify(least)), {
    ...least, port: 7001, listen: '0.0.0.0', metrics: null, join: null, log: 'info', supervisor: 'auto', attributes: {}, topics: [], policy: { deny: [], kill_on_logout: false, offline_hours_max: 168, homes: 'volume' },
  } as never);
});

test('a whole one is taken as it is, a role said twice once', (t) => {
  const config = parseConfig(JSON.stringify({ ...least, port: 7101, listen: '::', join: 'xos1.abc', log: 'debug', supervisor: 'runit', roles: ['relay', 'relay'], policy: { deny: ['mallory'], homes: 'local' } }));
  t.is(config.metrics, null);
  t.is(parseConfig(JSON.stringify({ ...least, metrics: 0 })).metrics, 0);
  t.throws(() => parseConfig(JSON.stringify({ ...least, metrics: 70_000 })), { code: 'XOS_CONFIG' });
  t.deepEqual(config.roles, ['relay']);
  t.deepEqual(config.policy, { deny: ['mallory'], kill_on_logout: false, offline_hours_max: 168, homes: 'local' });
});

for (const [what, text, words] of [
  ['no JSON', '{', /not JSON/],
  ['a list', '[]', /must be an object/],
  ['an unknown field', JSON.stringify({ ...least, rolls: [] }), /no field 'rolls'; it may have node, address/],
  ['a missing node', JSON.stringify({ address: 'a', roles: [] }), /'node'/],
  ['a bad node', JSON.stringify({ ...least, node: 'N 1' }), /'node'.*small letter/],
  ['an unknown role', JSON.stringify({ ...least, roles: ['relay', 'chef'] }), /'roles'\[1\] must be one of registry/],
  ['a bad port', JSON.stringify({ ...least, port: 70_000 }), /'port' must be a port/],
  ['a bad token', JSON.stringify({ ...least, join: 'token' }), /'join' must be a join token/],
  ['a bad address', JSON.stringify({ ...least, address: 'a b' }), /'address'/],
  ['a policy with a typing error', JSON.stringify({ ...least, policy: { denny: [] } }), /no field 'denny'/],
] as const) {
  test(`${what} is refused with what would be right`, (t) => {
    const refused = t.throws<XosError>(() => parseConfig(text));
    t.is(refused.code, 'XOS_CONFIG');
    t.regex(refused.message, words);
  });
}

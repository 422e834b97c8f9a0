import test from 'ava';
import { merge, policy_keys, policy_rules, readPolicy, readSetting, showValue } from '../../src/isolation/policy.ts';

test('of what the VO and the site say the narrower one holds, and the answer says who decided', (t) => {
  const { values } = merge({ 'memory.max': '4294967296', 'pids.max': '100', trust: 'untrusted' }, { 'memory.max': '1073741824', 'pids.max': 'max', isolated: 'yes' });
  t.deepEqual(values['memory.max'], { value: '1073741824', by: 'site', instead_of: '4294967296' });
  t.deepEqual(values['pids.max'], { value: '100', by: 'VO', instead_of: 'max' });
  t.deepEqual(values.trust, { value: 'untrusted', by: 'VO', instead_of: null });
  t.deepEqual(values.isolated, { value: 'yes', by: 'site', instead_of: null });
  t.deepEqual(values['cpu.weight'], { value: '100', by: 'default', instead_of: null });
});

test('merging is the same from both sides, and with itself changes nothing', (t) => {
  const some = { 'cpu.weight': '900', 'cpu.max': '150%', 'memory.max': 'max', network: 'none', trust: 'trusted', devices: 'few' } as const;
  const other = { 'cpu.weight': '50', 'cpu.max': 'max', 'memory.max': '8192', network: 'host', trust: 'untrusted', devices: 'all' } as const;
  const values = (a: object, b: object): Record<string, string> => Object.fromEntries(Object.entries(merge(a, b).values).map(([key, { value }]) => [key, value]));
  t.deepEqual(values(some, other), values(other, some));
  t.deepEqual(values(some, some), values(some, {}));
  t.is(values(some, other)['cpu.max'], '150%');
});

test('of two protections the one with fewer checkpoints holds', (t) => {
  const held = (vo: string, site: string): string => merge({ protect: vo }, { protect: site }).values.protect.value;
  t.deepEqual([held('auto', '300s'), held('300s', '60s'), held('no', 'auto'), held('60s', 'no')], ['300s', '300s', 'no', 'no']);
});

test('an untrusted VO has few devices, an isolated one no network', (t) => {
  const { values } = merge({ trust: 'untrusted', devices: 'all' }, { isolated: 'yes', network: 'host' });
  t.deepEqual(values.devices, { value: 'few', by: 'VO', instead_of: 'all' });
  t.deepEqual(values.network, { value: 'none', by: 'site', instead_of: 'host' });
});

test('what is denied adds up, and what is allowed must be allowed by both', (t) => {
  const effective = merge({ 'firewall.deny': '*:25', 'firewall.allow': '10.0.0.0/8' }, { 'firewall.deny': '*:25 192.0.2.1', 'firewall.allow': '10.1.0.0/16' });
  t.deepEqual(effective.deny, ['*:25', '192.0.2.1']);
  t.deepEqual(effective.allow, [['10.0.0.0/8'], ['10.1.0.0/16']]);
  t.is(effective.values['firewall.deny'].value, '*:25 192.0.2.1');
  t.deepEqual(merge({}, {}).allow, []);
});

const good: readonly (readonly [string, string, string])[] = [
  ['cpu.weight', '1', '1'], ['cpu.weight', '10000', '10000'], ['cpu.max', '150%', '150%'], ['cpu.max', 'max', 'max'], ['memory.max', '512M', '536870912'], ['memory.max', '4096', '4096'],
  ['memory.high', '2T', '2199023255552'], ['pids.max', '0016', '16'], ['io.write.max', '50M', '52428800'], ['firewall.deny', ' *:25,  10.0.0.0/8 ', '*:25 10.0.0.0/8'], ['firewall.allow', 'none', ''],
  ['protect', 'auto', 'auto'], ['protect', 'no', 'no'], ['protect', '5m', '300s'], ['protect', '90', '90s'], ['protect', '18h', '64800s'], ['node.mtbf', '0168', '168'],
];
for (const [key, text, value] of good) test(`${key} may be '${text}'`, (t) => t.deepEqual(readSetting(key, text), { key, value } as never));

const bad: readonly (readonly [string, unknown])[] = [
  ['cpu.weight', '0'], ['cpu.weight', '10001'], ['cpu.weight', '1e3'], ['cpu.weight', 'max'], ['cpu.max', '150'], ['cpu.max', '0%'], ['memory.max', '-1'], ['memory.max', '4095'], ['memory.max', '99999999T'],
  ['memory.max', '1 G'], ['pids.max', '15'], ['pids.max', ''], ['network', 'private'], ['isolated', 'YES'], ['trust', null], ['devices', 7], ['firewall.deny', ''], ['firewall.deny', 'example.org'],
  ['firewall.deny', Array.from({ length: 65 }, (_, at) => `10.0.0.${at}`).join(' ')], ['cpu.weight\n', '1'], ['__proto__', 'x'], ['constructor', 'x'], ['', ''],
  ['protect', '9s'], ['protect', '19h'], ['protect', 'yes please'], ['node.mtbf', '0'],
];
for (const [key, text] of bad) {
  test(`${JSON.stringify(key)} may not be ${JSON.stringify(text).slice(0, 40)}`, (t) => {
    t.throws(() => readSetting(key, text), { code: 'XOS_BAD_ARGUMENT' } as never);
  });
}

test('a network of its own with a way out is refused with what there is instead', (t) => {
  t.regex(t.throws(() => readSetting('network', 'private')).message, /^policy 'network' cannot be 'private': it is host .* or none \(a network of the cell's own with loopback and nothing else\)/);
});

test('a setting that this node does not know is left out and told, the others hold', (t) => {
  const told: string[] = [];
  t.deepEqual(readPolicy({ 'gpu.max': '1', 'pids.max': '64', 'cpu.weight': 'a lot', 'firewall.deny': '' }, (reason) => told.push(reason)), { 'pids.max': '64', 'firewall.deny': '' });
  t.is(told.length, 2);
  t.regex(told[0]!, /no policy 'gpu\.max'/);
});

test('every policy has a default that is valid, and every value reads back', (t) => {
  for (const key of policy_keys) {
    const { value } = readSetting(key, policy_rules[key].fallback);
    if (value !== '') t.is(readSetting(key, value).value, value);
  }
  t.is(showValue('memory.max', '1073741824'), '1.0 GiB');
  t.is(showValue('io.read.max', '52428800'), '50.0 MiB/s');
  t.is(showValue('firewall.deny', ''), 'none');
});

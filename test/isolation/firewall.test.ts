import test from 'ava';
import { firewallRules } from '../../src/isolation/firewall.ts';
import { merge } from '../../src/isolation/policy.ts';

const options = { vo: 'my-vo', group: 'xos.slice/xos-my\\x2dvo.slice', service_ports: [7001, 7002, 7003, 7004] };

test('the rules replace one table and name no other, and match the VO by its control group', (t) => {
  const rules = firewallRules(merge({}, {}), options);
  t.deepEqual(rules.split('\n').filter((line) => /\btable\b/.test(line)), ['table inet xos', 'delete table inet xos', 'table inet xos {']);
  t.true(rules.includes('socket cgroupv2 level 2 "xos.slice/xos-my\\x2dvo.slice" jump vo_my_vo'));
  t.true(rules.includes('tcp dport { 7001, 7002, 7003, 7004 } counter reject with tcp reset'));
  t.false(rules.includes('flush'));
});

test('lists become matches by family and port, and each side that allows has a chain that ends in a refusal', (t) => {
  const rules = firewallRules(merge({ 'firewall.deny': '*:25 [2001:db8::/32]:80-90', 'firewall.allow': '10.0.0.0/8' }, { 'firewall.allow': '10.1.0.0/16:443' }), options);
  t.true(rules.includes('    meta l4proto { tcp, udp } th dport 25 counter reject'));
  t.true(rules.includes('    ip6 daddr 2001:db8::/32 meta l4proto { tcp, udp } th dport 80-90 counter reject'));
  t.regex(rules, /chain vo_my_vo_allow_0 \{\n {4}ip daddr 10\.0\.0\.0\/8 return\n {4}counter reject/);
  t.regex(rules, /chain vo_my_vo_allow_1 \{\n {4}ip daddr 10\.1\.0\.0\/16 meta l4proto \{ tcp, udp \} th dport 443 return\n {4}counter reject/);
  t.true(rules.includes('    jump vo_my_vo_allow_0\n    jump vo_my_vo_allow_1'));
});

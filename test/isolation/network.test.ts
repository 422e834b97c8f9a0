import test from 'ava';
import { parseNetwork } from '../../src/isolation/network.ts';

const good: readonly (readonly [string, string, string | null, string | null])[] = [
  ['10.0.0.0/8', '10.0.0.0/8', '10.0.0.0/8', null], ['192.0.2.7:443', '192.0.2.7:443', '192.0.2.7', '443'], ['192.0.2.0/24:80-90', '192.0.2.0/24:80-90', '192.0.2.0/24', '80-90'],
  ['[2001:DB8::]/32', '[2001:db8::/32]', '2001:db8::/32', null], ['[2001:db8::/32]:53', '[2001:db8::/32]:53', '2001:db8::/32', '53'], ['[::1]', '[::1]', '::1', null],
  ['*:25', '*:25', null, '25'], ['*:6000-6063', '*:6000-6063', null, '6000-6063'], ['*:25-25', '*:25', null, '25'],
];
for (const [text, written, address, ports] of good) {
  test(`'${text}' is a network`, (t) => {
    const parsed = parseNetwork(text);
    t.like(parsed, { text: written, address, ports });
    t.deepEqual(parseNetwork(written), parsed, 'its own way of writing is the same');
  });
}

for (const text of ['', '*', 'example.org', '10.0.0/8', '10.0.0.0/33', '010.0.0.1', '256.1.1.1', '1.2.3.4:0', '1.2.3.4:65536', '1.2.3.4:9-8', '::1', '[::1', '[::g]', '[::]/129', '1.2.3.4;flush ruleset', '1.2.3.4 accept', '1.2.3.4\n', '$x', '[::1]:80:90']) {
  test(`${JSON.stringify(text)} is no network`, (t) => t.is(parseNetwork(text), null));
}

// The agent socket's codec against what a hostile or broken client may send.
import test from 'ava';
import { XosError } from '../../src/core/errors.ts';
import { limits } from '../../src/core/limits.ts';
import { AgentFramer, decodeFields, decodeValue, encodeFields, encodeValue } from '../../src/session/agent-codec.ts';
import { seededRandom } from '../support/ports.ts';

const malformed = (t: import('ava').ExecutionContext, work: () => unknown, what?: string): void => void t.is(t.throws<XosError>(work, undefined, what).code, 'XOS_MALFORMED', what);

test('values of every kind come back as they were', (t) => {
  for (const value of ['', 'alice@demo', 'pass word', 'a=b\nc=d', 'ü€😀', '%41', '\u0000\u007f', 'x'.repeat(5_000)]) t.is(decodeValue(encodeValue(value)), value);
  t.is(encodeValue('a b=ü'), 'a%20b%3D%C3%BC');
});

test('a message comes back as it was, its first field first', (t) => {
  const text = encodeFields(['op', 'auth'], { user: 'alice@demo', password: 'line\nbreak', empty: '', left_out: undefined, 'env.XOS_A': 1 });
  t.is(text, 'op=auth\nuser=alice@demo\npassword=line%0Abreak\nempty=\nenv.XOS_A=1\n\n');
  const fields = decodeFields(text.slice(0, -2), 'op');
  t.deepEqual([...fields], [['op', 'auth'], ['user', 'alice@demo'], ['password', 'line\nbreak'], ['empty', ''], ['env.XOS_A', '1']]);
});

test('what is no field, comes twice, or stands in the wrong place is refused', (t) => {
  for (const text of ['', 'op', '=x', 'user=a\nop=auth', 'op=auth\nop=auth', 'op=auth\n\nuser=a', 'op=auth\nUser=a', 'op=auth\nu ser=a', 'op=a b', 'op=%', 'op=%4', 'op=%zz', 'op=%ff', 'op=\u00fc', 'op=a\r', 'op=%C3%28', 'status=ok']) malformed(t, () => decodeFields(text, 'op'), JSON.stringify(text));
  malformed(t, () => decodeFields(['op=x', ...Array.from({ length: 64 }, (_, index) => `k${'a'.repeat(index)}=1`)].join('\n'), 'op'));
});

test('a message arrives whole however it is cut', (t) => {
  const text = Buffer.from('op=auth\nuser=alice@demo\n\nop=close\nsession=1\n\n');
  for (let cut = 0; cut <= text.length; cut++) {
    const framer = new AgentFramer();
    const messages = [...framer.push(text.subarray(0, cut)), ...framer.push(text.subarray(cut))];
    t.deepEqual(messages, ['op=auth\nuser=alice@demo', 'op=close\nsession=1']);
  }
});

test('bytes that must be encoded, and a request without end, are refused', (t) => {
  for (const byte of [0x00, 0x09, 0x0d, 0x7f, 0x80, 0xff]) malformed(t, () => new AgentFramer().push(Buffer.from([0x6f, byte])));
  const framer = new AgentFramer();
  framer.push(Buffer.alloc(limits.agent_request_bytes_max, 'x'));
  malformed(t, () => framer.push(Buffer.from('x')));
  malformed(t, () => new AgentFramer().push(Buffer.concat([Buffer.alloc(limits.agent_request_bytes_max + 1, 'x'), Buffer.from('\n\n')])));
});

test('noise is refused or taken, never anything else', (t) => {
  const seed = process.env['XOS_SEED'] ?? 'agent';
  const random = seededRandom(seed);
  const alphabet = 'op=auth\n%4A@ü\u0000user= \t';
  for (let round = 0; round < 2_000; round++) {
    const text = Array.from({ length: random.integer(40) }, () => alphabet[random.integer(alphabet.length)]).join('');
    try {
      for (const message of new AgentFramer().push(Buffer.from(text))) decodeFields(message, 'op');
    } catch (thrown) {
      t.is((thrown as XosError).code, 'XOS_MALFORMED', `seed ${seed}, ${JSON.stringify(text)}`);
    }
  }
  t.pass();
});

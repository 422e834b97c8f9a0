import test from 'ava';
import { XosError } from '../../src/core/errors.ts';
import { decodeToken, encodeToken, type JoinToken } from '../../src/vo/token.ts';

const token: JoinToken = { vo: 'demo', node: 'n2', registry: 'n1', address: '10.0.0.1', port: 7001, root: 'a'.repeat(64), secret: 'b'.repeat(64), expires_ms: 5 };

test('a token comes back as it was', (t) => {
  t.deepEqual(decodeToken(encodeToken(token)), token);
});

test('a token that was cut, mixed up or made up is refused with what to do', (t) => {
  const whole = encodeToken(token);
  const made = (change: object): string => encodeToken({ ...token, ...change } as JoinToken);
  for (const bad of ['', 'hello', whole.slice(1), whole.slice(0, -20), made({ vo: '../x' }), made({ node: 'N 2' }), made({ root: 'zz' }), made({ secret: '' }), made({ port: 0 }), made({ port: '7001' }), made({ address: 'a b' }), made({ expires_ms: 'x' })]) {
    const refused = t.throws<XosError>(() => decodeToken(bad));
    t.is(refused.code, 'XOS_BAD_TOKEN');
    t.regex(refused.message, /xvo node invite/);
  }
});

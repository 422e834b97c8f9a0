import test from 'ava';
import { passwordSetting } from '../../native/peer/index.ts';
import { XosError } from '../../src/core/errors.ts';
import { scryptSync } from 'node:crypto';
import { checkNewPassword, checkPassword, isOutdated, makeVerifier } from '../../src/vo/password.ts';
import { seededRandom } from '../support/ports.ts';

test('a verifier takes its password and no other, and does not hold it', async (t) => {
  const verifier = await makeVerifier('correct horse', 5, seededRandom('a'));
  t.regex(verifier, /^\$y\$j9T\$/, "Debian's own method and cost");
  t.false(isOutdated(verifier, 5));
  t.true(isOutdated(verifier, 4), 'the policy is another');
  t.true(await checkPassword('correct horse', verifier, 5));
  for (const wrong of ['', 'Correct horse', 'correct horse ', 'correct horse\0', 'x'.repeat(511), 'x'.repeat(100_000)]) t.false(await checkPassword(wrong, verifier, 5));
});

test('each cost has its own beginning, and what it takes does not depend on the one that is wanted now', async (t) => {
  for (const [cost, beginning] of [[4, '$y$j8T$'], [6, '$y$jAT$'], [9, '$y$jDT$']] as const) t.true(passwordSetting('$y$', cost, Buffer.alloc(16)).startsWith(beginning));
  t.true(await checkPassword('correct horse', await makeVerifier('correct horse', 4, seededRandom('c')), 5));
});

test('one password has different verifiers, and Unicode forms of one word are one', async (t) => {
  const random = seededRandom('b');
  t.not(await makeVerifier('same word', 4, random), await makeVerifier('same word', 4, random));
  t.true(await checkPassword('caf\u00e9-au-lait', await makeVerifier('cafe\u0301-au-lait', 4, random), 4));
});

test('no member and a damaged verifier are false, not errors', async (t) => {
  for (const verifier of [null, '', 'scrypt$14$8$5$', 'md5$x', '$y$', '$y$j9T$salt', '$6$salt$hash']) t.false(await checkPassword('anything', verifier, 4));
});

test('new passwords keep the rules', (t) => {
  t.is(checkNewPassword('12345678'), '12345678');
  for (const bad of ['1234567', 'x'.repeat(512), '\u0958'.repeat(170), 'line\nbreak', 'nul\0nul!!', undefined, 5]) t.is(t.throws<XosError>(() => checkNewPassword(bad)).code, 'XOS_BAD_PASSWORD');
});

test('a VO may want longer ones, counted in characters', (t) => {
  t.is(checkNewPassword('ääääääääää', 10), 'ääääääääää');
  t.like(t.throws<XosError>(() => checkNewPassword('äääääääää', 10)), { code: 'XOS_BAD_PASSWORD', data: { rule: 'short', least: 10 } });
});

test('guesses that were sent all at once are admitted one by one', async (t) => {
  let wrong = 0;
  const admit = (): void => {
    if (wrong >= 2) throw new XosError('XOS_LOCKED', 'enough');
  };
  const guess = async (): Promise<string> => {
    if (!(await checkPassword('guess', null, 4, admit))) wrong++;
    return 'compared';
  };
  const results = await Promise.all(Array.from({ length: 20 }, () => guess().catch((thrown: XosError) => thrown.code)));
  t.true(results.filter((result) => result === 'compared').length <= 4, 'two run at a time');
  t.is(results.at(-1), 'XOS_LOCKED');
});

test('a verifier of before is still good, and is to be made anew', async (t) => {
  const salt = Buffer.alloc(16, 5);
  for (const p of [5, 1]) {
    const hash = scryptSync('correct horse', salt, 32, { N: 2 ** 14, r: 8, p, maxmem: 2 ** 26 });
    const verifier = `scrypt$14$8$${p}$${salt.toString('base64url')}$${hash.toString('base64url')}`;
    t.true(await checkPassword('correct horse', verifier, 5));
    t.false(await checkPassword('correct house', verifier, 5));
    t.true(isOutdated(verifier, 5));
  }
  t.true(isOutdated('$y$j75$F5Jx5fExrKuPp53xLKQ..1$qx7cYvtEBWNZkl6lWjoEa3tV3.lN.0pVV0Ns1n8VKZ8', 5), 'a lower cost');
});

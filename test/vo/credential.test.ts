// Real certificates: what is accepted, and every way to be refused.
import test from 'ava';
import { X509Certificate } from 'node:crypto';
import { XosError } from '../../src/core/errors.ts';
import { verifyCredential } from '../../src/vo/credential.ts';
import { certificateExtensions, encodeOid, readTlv } from '../../src/vo/der.ts';
import { newKey } from '../../src/vo/keys.ts';
import { verifyTrust, type Trust } from '../../src/vo/trust.ts';
import { uidOf } from '../../src/account/uid.ts';
import { testCredential, testVo } from './authority.ts';

const demo = await testVo();
const codeOf = (work: () => unknown): string => {
  try {
    work();
  } catch (thrown) {
    return thrown instanceof XosError ? thrown.code : `not ours: ${String(thrown)}`;
  }
  return 'accepted';
};

test('a credential of the CDA is accepted with its claims', async (t) => {
  const { pem, claims, key } = await testCredential(demo, { claims: { roles: ['admin'] } });
  const credential = verifyCredential(pem, demo.trust, Date.now());
  t.deepEqual(credential.claims, claims);
  t.true(new X509Certificate(pem).checkPrivateKey(key));
});

test('it is back-dated, so that a clock a little behind takes it, and refused before and after its time', async (t) => {
  const now_ms = Date.UTC(2026, 5, 1);
  const { pem } = await testCredential(demo, { now_ms });
  t.is(codeOf(() => verifyCredential(pem, demo.trust, now_ms - 59_000)), 'accepted');
  t.is(codeOf(() => verifyCredential(pem, demo.trust, now_ms - 61_000)), 'XOS_CLOCK_OFF');
  t.is(codeOf(() => verifyCredential(pem, demo.trust, now_ms + 3_599_000)), 'accepted');
  t.is(codeOf(() => verifyCredential(pem, demo.trust, now_ms + 3_600_000)), 'XOS_CREDENTIAL_EXPIRED');
});

test('a foreign VO, also one of the same name, is refused', async (t) => {
  for (const foreign of [await testVo('other'), await testVo('demo')]) {
    const { pem } = await testCredential(foreign, { claims: { vo: foreign.trust.vo } });
    t.is(codeOf(() => verifyCredential(pem, demo.trust, Date.now())), 'XOS_CREDENTIAL');
    t.is(codeOf(() => verifyCredential(pem, foreign.trust, Date.now())), 'accepted');
  }
});

test('a certificate of the node CA, of the root or of itself is no credential', async (t) => {
  const { founding } = demo;
  for (const issuer of [{ key: founding.node_ca_key, certificate: founding.node_ca }, { key: founding.root_key, certificate: founding.root }, { key: founding.node_ca_key, certificate: founding.user_ca }]) {
    const { pem } = await testCredential(demo, { issuer });
    t.is(codeOf(() => verifyCredential(pem, demo.trust, Date.now())), 'XOS_CREDENTIAL');
  }
  t.is(codeOf(() => verifyCredential(founding.user_ca, demo.trust, Date.now())), 'XOS_CREDENTIAL');
});

for (const [what, claims] of [
  ['uid 0', { uid: 0 }],
  ['a uid of another VO', { uid: uidOf(2, 1) }],
  ["the VO's group number as uid", { uid: uidOf(1, 1) - 1 }],
  ['gid 0', { groups: [0] }],
  ['a fractional uid', { uid: uidOf(1, 1) + 0.5 }],
  ['another VO', { vo: 'other' }],
  ['another VO number', { number: 2, uid: uidOf(2, 1), groups: [] }],
  ['a session that is none', { session: '../../etc' }],
  ['a role with a newline', { roles: ['a\nb'] }],
] as const) {
  test(`a signed extension that says ${what} is refused`, async (t) => {
    const { pem } = await testCredential(demo, { claims: claims as object });
    t.is(codeOf(() => verifyCredential(pem, demo.trust, Date.now())), 'XOS_CREDENTIAL');
  });
}

test('a forged extension breaks the signature: every byte of it', async (t) => {
  const { pem } = await testCredential(demo);
  const der = new X509Certificate(pem).raw;
  const at = der.indexOf('"uid":') + 6;
  t.true(at > 6);
  for (let offset = 0; offset < 10; offset++) {
    const forged = Buffer.from(der);
    forged[at + offset] = 0x30 + ((forged[at + offset]! - 0x30 + 1) % 10);
    const text = `-----BEGIN CERTIFICATE-----\n${forged.toString('base64')}\n-----END CERTIFICATE-----\n`;
    t.is(codeOf(() => verifyCredential(text, demo.trust, Date.now())), 'XOS_CREDENTIAL');
  }
});

test('no certificate, an empty one, a huge one: refused, nothing thrown that is not ours', (t) => {
  for (const text of ['', 'hello', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n', 'x'.repeat(1_000_000)]) {
    t.is(codeOf(() => verifyCredential(text, demo.trust, Date.now())), 'XOS_CREDENTIAL');
  }
});

test('any damage to a certificate is refused by the reader of DER with an error of ours or none at all', async (t) => {
  const { pem } = await testCredential(demo);
  const der = new X509Certificate(pem).raw;
  for (let at = 0; at < der.length; at++) {
    for (const change of [0x00, 0x80, 0xff]) {
      const damaged = Buffer.from(der);
      damaged[at] = change;
      const code = codeOf(() => certificateExtensions(damaged));
      t.true(code === 'accepted' || code === 'XOS_MALFORMED', code);
    }
    const cut = codeOf(() => certificateExtensions(der.subarray(0, at)));
    t.is(cut, 'XOS_MALFORMED');
  }
});

test('lengths of DER that are indefinite, not minimal or too long are refused', (t) => {
  for (const bytes of ['3080', '308101', '30820001', '3085ffffffffff', '3003ff', '1f', '']) t.is(codeOf(() => readTlv(Buffer.from(bytes, 'hex'))), 'XOS_MALFORMED');
  t.is(encodeOid('2.5.29.17').toString('hex'), '551d11');
});

test('trust that does not hang on the pinned root is refused', async (t) => {
  const other = await testVo('demo');
  t.is(verifyTrust(demo.trust, demo.pin), demo.trust);
  t.is(codeOf(() => verifyTrust(demo.trust, other.pin)), 'XOS_TRUST');
  for (const name of ['user_ca', 'node_ca', 'node_ca_cross', 'registry'] as const) {
    t.is(codeOf(() => verifyTrust({ ...demo.trust, [name]: other.trust[name] }, demo.pin)), 'XOS_TRUST', name);
  }
  t.is(codeOf(() => verifyTrust({ ...demo.trust, registry: demo.trust.user_ca }, demo.pin)), 'XOS_TRUST');
  t.is(codeOf(() => verifyTrust({ ...demo.trust, user_ca: demo.trust.registry }, demo.pin)), 'XOS_TRUST');
  for (const nonsense of [null, 5, {}, { ...demo.trust, number: 0 }, { ...demo.trust, vo: '../x' }]) t.is(codeOf(() => verifyTrust(nonsense as Trust, demo.pin)), 'XOS_TRUST');
});

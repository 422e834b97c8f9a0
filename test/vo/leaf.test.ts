// The certificates that leaf.ts writes, against those of @peculiar/x509.
import 'reflect-metadata';
import * as x509 from '@peculiar/x509';
import test from 'ava';
import { webcrypto } from 'node:crypto';
import { userUri } from '../../src/core/ids.ts';
import { limits } from '../../src/core/limits.ts';
import { systemRandom } from '../../src/platform/random.ts';
import { encodeClaims, vo_extension_oid } from '../../src/vo/credential.ts';
import { certificateRequest, keyFromPem, keyOfRequest, newKey, publicDer } from '../../src/vo/keys.ts';
import { newSerial, writeCredential } from '../../src/vo/leaf.ts';
import { claimsOf, testVo } from './authority.ts';

const algorithm = { name: 'Ed25519' } as const;
const imported = (spki: Buffer): Promise<webcrypto.CryptoKey> => webcrypto.subtle.importKey('spki', spki, algorithm, true, ['verify']);

for (const [what, vo, user, now_ms] of [
  ['as they are', 'demo', 'alice', Date.UTC(2026, 5, 1, 12, 0, 0, 999)],
  ['with a name that is no PrintableString', 'demo', 'a_b-c.d9', Date.UTC(2026, 5, 1)],
  ['with long names', 'lab.example-of-a-long-name', 'a'.repeat(31), Date.UTC(2049, 11, 31, 23)],
  ['beyond 2049', 'demo', 'bob', Date.UTC(2050, 0, 1, 0, 1)],
] as const) {
  test(`credentials are those of @peculiar/x509, ${what}`, async (t) => {
    const { founding } = await testVo(vo);
    const issuer = { key: keyFromPem(founding.user_ca_key), certificate: founding.user_ca };
    const publicKey = publicDer(newKey());
    for (let turn = 0; turn < 20; turn++) {
      const order = { claims: claimsOf({ vo, user, roles: turn % 2 === 0 ? [] : ['admin'] }), publicKey, serial: newSerial(systemRandom), now_ms, expires_ms: now_ms + limits.credential_ms, issuer };
      const key = await imported(publicKey);
      const theirs = await x509.X509CertificateGenerator.create({
        serialNumber: order.serial.toString('hex'), subject: `O=${vo}, CN=${user}`, issuer: new x509.X509Certificate(founding.user_ca).subject,
        notBefore: new Date(Math.floor((now_ms - limits.backdate_ms) / 1_000) * 1_000), notAfter: new Date(Math.floor(order.expires_ms / 1_000) * 1_000),
        publicKey: key, signingAlgorithm: algorithm,
        signingKey: await webcrypto.subtle.importKey('pkcs8', issuer.key.export({ type: 'pkcs8', format: 'der' }), algorithm, false, ['sign']),
        extensions: [
          new x509.BasicConstraintsExtension(false, undefined, true), new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
          new x509.SubjectAlternativeNameExtension([{ type: 'url', value: userUri(vo, user) }]), new x509.Extension(vo_extension_oid, true, encodeClaims(order.claims)),
          await x509.SubjectKeyIdentifierExtension.create(key), await x509.AuthorityKeyIdentifierExtension.create(await imported(publicDer(issuer.key))),
        ],
      });
      t.is(writeCredential(order), `${theirs.toString('pem')}\n`);
    }
  });
}

test('a serial number is positive, of 127 bits, in as few bytes as it takes', (t) => {
  for (const byte of [0, 0x40, 0x7f, 0x80, 0xff]) {
    const [first] = newSerial({ bytes: (count) => Buffer.alloc(count, byte) });
    t.true(first! >= 0x40 && first! < 0x80);
  }
});

test('a request is taken for the key that signed it, and for no other', async (t) => {
  const [key, other] = [newKey(), newKey()];
  const request = certificateRequest(key, 'alice');
  t.deepEqual(keyOfRequest(request), publicDer(key));
  t.true(await new x509.Pkcs10CertificateRequest(request).verify());
  const foreign = Buffer.from(request.toString('hex').replace(publicDer(key).toString('hex'), publicDer(other).toString('hex')), 'hex');
  t.throws(() => keyOfRequest(foreign), { code: 'XOS_BAD_REQUEST' });
  t.throws(() => keyOfRequest(Buffer.concat([request, Buffer.from([0])])), { code: 'XOS_BAD_REQUEST' });
  for (let at = 0; at < request.length; at++) {
    t.throws(() => keyOfRequest(request.subarray(0, at)), { code: 'XOS_BAD_REQUEST' }, `cut at ${at}`);
    const flipped = Buffer.from(request);
    flipped[at]! ^= 0x10;
    t.throws(() => keyOfRequest(flipped), { code: 'XOS_BAD_REQUEST' }, `flipped at ${at}`);
  }
});

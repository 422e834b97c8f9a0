// What xosd puts into a key of type xos_cred: the module's header file says how it must look.
import test from 'ava';
import { readFileSync } from 'node:fs';
import { XosError } from '../../src/core/errors.ts';
import { verifyCredential } from '../../src/vo/credential.ts';
import { credentialPayload } from '../../src/vo/key-payload.ts';
import { testCredential, testVo } from './authority.ts';

test('the head has serial number, uid and expiry of the credential behind it', async (t) => {
  const demo = await testVo();
  const { pem, claims } = await testCredential(demo);
  const { serial, expires_ms } = verifyCredential(pem, demo.trust, Date.now());
  const payload = credentialPayload(pem, Date.now());
  t.is(payload.toString('latin1', 0, 4), 'XOSC');
  t.deepEqual([payload.readUInt16LE(4), payload.readUInt16LE(6)], [1, serial.length / 2]);
  t.deepEqual([payload.readUInt32LE(8), payload.readUInt32LE(12)], [claims.uid, pem.length]);
  t.is(Number(payload.readBigInt64LE(16)), Math.floor(expires_ms / 1000));
  t.is(payload.toString('hex', 24, 24 + serial.length / 2), serial);
  t.true(payload.subarray(24 + serial.length / 2, 48).every((byte) => byte === 0));
  t.is(payload.toString('utf8', 48), pem);
});

test('an empty one takes the credential away', (t) => {
  const payload = credentialPayload('', 1_000_000);
  t.is(payload.length, 48);
  t.is(payload.readUInt32LE(12), 0);
  t.true(Number(payload.readBigInt64LE(16)) > 1000, 'and is itself good for a while');
});

test('what is no credential is refused', (t) => {
  for (const pem of ['x', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----']) {
    t.is(t.throws(() => credentialPayload(pem, 0), { instanceOf: XosError })?.code, 'XOS_CREDENTIAL');
  }
});

test('magic and version are those of the module', (t) => {
  const header = readFileSync(new URL('../../kmod/xos_cred/uapi/xos_cred.h', import.meta.url), 'utf8');
  t.regex(header, /#define XOS_CRED_MAGIC 0x43534f58\b/);
  t.regex(header, /#define XOS_CRED_VERSION 1\n/);
  t.regex(header, /#define XOS_CRED_SERIAL_MAX 20\b/);
});

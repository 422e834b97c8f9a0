// OpenSSH certificates: read back here, and by ssh-keygen where there is one.
import test from 'ava';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { XosError } from '../../src/core/errors.ts';
import { newKey, publicDer, signBytes } from '../../src/vo/keys.ts';
import { issueSshCertificate, sshKeyBlob, sshLine, sshString, sshUserKeyId, verifySshCertificate, type SshOrder } from '../../src/vo/ssh.ts';

const authority = newKey();
const key = newKey();
const now_ms = Date.UTC(2026, 5, 1);
const order = (change: Partial<SshOrder> = {}): SshOrder => ({
  kind: 'user', publicKey: publicDer(key), serial: Buffer.alloc(16, 7), nonce: Buffer.alloc(32, 9), key_id: sshUserKeyId('demo', 'alice', 1_879_113_729), principals: ['alice@demo'],
  not_before_ms: now_ms - 60_000, expires_ms: now_ms + 3_600_000, session: `${'ab'.repeat(16)} n1`, authority, ...change,
});
const expected = { kind: 'user', authority: sshKeyBlob(publicDer(authority)), principal: 'alice@demo' } as const;
const code = (work: () => unknown): string => {
  try {
    work();
    return 'accepted';
  } catch (thrown) {
    return (thrown as XosError).code ?? String(thrown);
  }
};

test('a certificate says whose it is, for which session, and is for the key', (t) => {
  const read = verifySshCertificate(issueSshCertificate(order()), expected, now_ms);
  t.like(read, { key_id: 'xos://demo/user/alice/1879113729', principals: ['alice@demo'], session: `${'ab'.repeat(16)} n1`, kind: 'user' });
  t.deepEqual(read.publicKey.export({ type: 'spki', format: 'der' }), publicDer(key));
});

test('forged, expired, early, foreign and mistaken ones are refused', async (t) => {
  const other = newKey();
  const refused: readonly (readonly [string, () => unknown, string])[] = [
    ['another CA', () => verifySshCertificate(issueSshCertificate(order({ authority: other })), expected, now_ms), 'XOS_SSH'],
    ['a day late', () => verifySshCertificate(issueSshCertificate(order()), expected, now_ms + 86_400_000), 'XOS_CREDENTIAL_EXPIRED'],
    ['a day early', () => verifySshCertificate(issueSshCertificate(order()), expected, now_ms - 86_400_000), 'XOS_CLOCK_OFF'],
    ['another user', () => verifySshCertificate(issueSshCertificate(order({ principals: ['bob@demo'] })), expected, now_ms), 'XOS_SSH'],
    ["a host's", () => verifySshCertificate(issueSshCertificate(order({ kind: 'host' })), expected, now_ms), 'XOS_SSH'],
    ['empty', () => verifySshCertificate(Buffer.alloc(0), expected, now_ms), 'XOS_SSH'],
    ['a plain key', () => verifySshCertificate(sshKeyBlob(publicDer(key)), expected, now_ms), 'XOS_SSH'],
    ['64 KiB', () => verifySshCertificate(Buffer.alloc(65_536, 1), expected, now_ms), 'XOS_SSH'],
    ['for everybody', () => issueSshCertificate(order({ principals: [] })), 'XOS_INTERNAL'],
  ];
  for (const [what, work, why] of refused) t.is(code(work), why, what);
});

test('no byte of a certificate can be changed, and none is missing', (t) => {
  const blob = issueSshCertificate(order());
  for (let at = 0; at < blob.length; at++) {
    const changed = Buffer.from(blob);
    changed[at]! ^= 1;
    t.not(code(() => verifySshCertificate(changed, expected, now_ms)), 'accepted', `byte ${at}`);
    t.is(code(() => verifySshCertificate(blob.subarray(0, at), expected, now_ms)), 'XOS_SSH', `cut at ${at}`);
  }
  t.is(code(() => verifySshCertificate(Buffer.concat([blob, Buffer.from([0])]), expected, now_ms)), 'XOS_SSH');
});

test('critical options that are not known here are refused', (t) => {
  // The same certificate with `force-command`, signed by the CA itself.
  const blob = issueSshCertificate(order());
  const at = blob.indexOf(Buffer.concat([Buffer.alloc(4), Buffer.from([0, 0])])); // the empty critical options stand behind the times
  const options = sshString(Buffer.concat([sshString('force-command'), sshString(sshString('/bin/false'))]));
  const signature = sshString(Buffer.concat([sshString('ssh-ed25519'), sshString(Buffer.alloc(64))])).length;
  const body = Buffer.concat([blob.subarray(0, at), options, blob.subarray(at + 4, blob.length - signature)]);
  const signed = Buffer.concat([body, sshString(Buffer.concat([sshString('ssh-ed25519'), sshString(signBytes(authority, body))]))]);
  t.throws(() => verifySshCertificate(signed, expected, now_ms), { message: /critical options/ });
});

const keygen = spawnSync('ssh-keygen', ['-Q', 'key']).error === undefined;
(keygen ? test : test.skip)("ssh-keygen reads the same as we do, and its revocation list names the member's key id", (t) => {
  const folder = mkdtempSync('/tmp/xos-ssh-');
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const write = (name: string, text: string): string => (writeFileSync(join(folder, name), text), join(folder, name));
  const certificate = write('cert.pub', `${sshLine(issueSshCertificate(order()), 'alice')}\n`);
  const shown = spawnSync('ssh-keygen', ['-L', '-f', certificate], { encoding: 'utf8', env: { ...process.env, TZ: 'UTC' } });
  t.is(shown.status, 0, shown.stderr);
  for (const part of [/user certificate/, /Key ID: "xos:\/\/demo\/user\/alice\/1879113729"/, /Serial: 506381209866536711/, /Valid: from 2026-05-31T23:59:00 to 2026-06-01T01:00:00/, /alice@demo/, /permit-pty/, /session@xtreemos/]) t.regex(shown.stdout, part);
  const ca = write('ca.pub', `${sshLine(expected.authority, 'ca')}\n`);
  const spec = write('spec', `id: ${sshUserKeyId('demo', 'alice', 1_879_113_729)}\n`);
  t.is(spawnSync('ssh-keygen', ['-q', '-k', '-f', join(folder, 'krl'), '-s', ca, spec]).status, 0);
  t.is(spawnSync('ssh-keygen', ['-Q', '-f', join(folder, 'krl'), certificate]).status, 1, 'revoked');
  const again = write('again.pub', `${sshLine(issueSshCertificate(order({ key_id: sshUserKeyId('demo', 'alice', 1_879_113_730) })), 'the next alice')}\n`);
  t.is(spawnSync('ssh-keygen', ['-Q', '-f', join(folder, 'krl'), again]).status, 0, 'who got the name later is not concerned');
});
if (!keygen) console.log('skip what ssh-keygen reads: there is none');

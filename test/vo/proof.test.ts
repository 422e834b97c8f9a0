import test from 'ava';
import { createPublicKey } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { XosError } from '../../src/core/errors.ts';
import { systemDisk } from '../../src/platform/disk.ts';
import { newKey, signBytes, keyToPem } from '../../src/vo/keys.ts';
import { ProofGate, adminProofBytes, renewProofBytes, sessionProofBytes } from '../../src/vo/proof.ts';
import { quietLog } from '../support/ports.ts';

const key = newKey();
const publicKey = createPublicKey(keyToPem(key));
const folder = await mkdtemp('/tmp/xos-proof-');
test.after.always(() => rm(folder, { recursive: true, force: true }));
let gates = 0;
const newGate = (path = `${folder}/${++gates}.json`): ProofGate => new ProofGate(path, { disk: systemDisk, log: quietLog });
const session = { vo: 'demo', session: 's1', origin: 'n1', target: 'n2', expires_ms: 10_000_000 };
const moment = (issued_ms: number, fill: number): { issued_ms: number; nonce: Buffer } => ({ issued_ms, nonce: Buffer.alloc(16, fill) });
const code = async (work: () => Promise<void>): Promise<string> => {
  try {
    await work();
    return 'accepted';
  } catch (thrown) {
    return (thrown as XosError).code;
  }
};

test('a proof is accepted once', async (t) => {
  const gate = newGate();
  const at = moment(1_000_000, 1);
  const bytes = sessionProofBytes({ ...session, ...at });
  const check = (now_ms: number): Promise<string> => code(() => gate.check(publicKey, bytes, signBytes(key, bytes), at, now_ms));
  t.is(await check(1_000_000), 'accepted');
  t.is(await check(1_000_001), 'XOS_REPLAY');
  t.is(await check(1_089_000), 'XOS_REPLAY', 'remembered as long as it could be shown');
});

test('a proof is for its session, origin, target and expiry, and no other', async (t) => {
  const at = moment(1_000_000, 2);
  const signature = signBytes(key, sessionProofBytes({ ...session, ...at }));
  for (const change of [{ vo: 'x' }, { session: 's2' }, { origin: 'n3' }, { target: 'n3' }, { expires_ms: 1 }, { issued_ms: 1_000_001 }, { nonce: Buffer.alloc(16, 9) }]) {
    const shown = { ...at, ...change };
    t.is(await code(() => newGate().check(publicKey, sessionProofBytes({ ...session, ...shown }), signature, shown, 1_000_000)), 'XOS_PROOF', JSON.stringify(change));
  }
});

test('a proof of one kind is none of another, nor of another key', async (t) => {
  const at = moment(1_000_000, 3);
  const signature = signBytes(key, sessionProofBytes({ ...session, ...at }));
  const admin = adminProofBytes({ vo: 'demo', origin: 'n1', operation: 'member-add', request: Buffer.from('{}'), ...at });
  const renew = renewProofBytes({ vo: 'demo', session: 's1', origin: 'n1', csr: Buffer.alloc(0), ...at });
  for (const bytes of [admin, renew]) t.is(await code(() => newGate().check(publicKey, bytes, signature, at, 1_000_000)), 'XOS_PROOF');
  const other = createPublicKey(keyToPem(newKey()));
  t.is(await code(() => newGate().check(other, sessionProofBytes({ ...session, ...at }), signature, at, 1_000_000)), 'XOS_PROOF');
});

test('clocks that differ too much are named as the reason', async (t) => {
  for (const [now_ms, expected] of [[1_000_000 - 61_000, 'XOS_CLOCK_OFF'], [1_000_000 - 59_000, 'accepted'], [1_000_000 + 89_000, 'accepted'], [1_000_000 + 91_000, 'XOS_CLOCK_OFF']] as const) {
    const at = moment(1_000_000, 4);
    const bytes = sessionProofBytes({ ...session, ...at });
    t.is(await code(() => newGate().check(publicKey, bytes, signBytes(key, bytes), at, now_ms)), expected, String(now_ms));
  }
});

test('a nonce or signature of the wrong size is refused', async (t) => {
  const at = { issued_ms: 1_000_000, nonce: Buffer.alloc(8) };
  const bytes = sessionProofBytes({ ...session, ...at });
  t.is(await code(() => newGate().check(publicKey, bytes, signBytes(key, bytes), at, 1_000_000)), 'XOS_PROOF');
  const good = moment(1_000_000, 5);
  t.is(await code(() => newGate().check(publicKey, bytes, Buffer.alloc(0), good, 1_000_000)), 'XOS_PROOF');
});

test('a proof that was used before a restart is refused after it, and so is one that was used while another was noted', async (t) => {
  const path = `${folder}/restart.json`;
  const proofs = Array.from({ length: 20 }, (_, fill) => {
    const at = moment(1_000_000, fill);
    const bytes = sessionProofBytes({ ...session, ...at });
    return (gate: ProofGate, now_ms: number): Promise<string> => code(() => gate.check(publicKey, bytes, signBytes(key, bytes), at, now_ms));
  });
  const [unused, ...used] = proofs;
  const before = newGate(path);
  t.deepEqual(new Set(await Promise.all(used.map((each) => each(before, 1_000_000)))), new Set(['accepted']));
  const after = newGate(path);
  for (const each of used) t.is(await each(after, 1_000_100), 'XOS_REPLAY');
  t.is(await unused!(after, 1_000_100), 'accepted');
  t.is(await unused!(newGate(path), 1_000_200), 'XOS_REPLAY');
});

test('notes that cannot be read or written accept nothing that may have been used', async (t) => {
  const path = `${folder}/broken.json`;
  await writeFile(path, '{"not":"a list');
  const check = (gate: ProofGate, issued_ms: number, fill: number, now_ms: number): Promise<string> => {
    const at = moment(issued_ms, fill);
    const bytes = sessionProofBytes({ ...session, ...at });
    return code(() => gate.check(publicKey, bytes, signBytes(key, bytes), at, now_ms));
  };
  const gate = newGate(path);
  t.is(await check(gate, 1_000_000, 1, 1_000_000), 'XOS_REPLAY');
  t.is(await check(gate, 1_061_000, 2, 1_061_000), 'accepted', 'made after the restart by any clock');
  t.is(await check(newGate(`${folder}/no/such/folder.json`), 1_000_000, 3, 1_000_000), 'XOS_UNAVAILABLE');
});

import test from 'ava';
import { createPublicKey } from 'node:crypto';
import { XosError } from '../../src/core/errors.ts';
import { newKey, signBytes, keyToPem } from '../../src/vo/keys.ts';
import { ProofGate, adminProofBytes, renewProofBytes, sessionProofBytes } from '../../src/vo/proof.ts';

const key = await newKey();
const publicKey = createPublicKey(keyToPem(key));
const session = { vo: 'demo', session: 's1', origin: 'n1', target: 'n2', expires_ms: 10_000_000 };
const moment = (issued_ms: number, fill: number): { issued_ms: number; nonce: Buffer } => ({ issued_ms, nonce: Buffer.alloc(16, fill) });
const code = (work: () => void): string => {
  try {
    work();
    return 'accepted';
  } catch (thrown) {
    return (thrown as XosError).code;
  }
};

test('a proof is accepted once', (t) => {
  const gate = new ProofGate();
  const at = moment(1_000_000, 1);
  const bytes = sessionProofBytes({ ...session, ...at });
  const check = (now_ms: number): string => code(() => gate.check(publicKey, bytes, signBytes(key, bytes), at, now_ms));
  t.is(check(1_000_000), 'accepted');
  t.is(check(1_000_001), 'XOS_REPLAY');
  t.is(check(1_089_000), 'XOS_REPLAY', 'remembered as long as it could be shown');
});

test('a proof is for its session, origin, target and expiry, and no other', (t) => {
  const at = moment(1_000_000, 2);
  const signature = signBytes(key, sessionProofBytes({ ...session, ...at }));
  for (const change of [{ vo: 'x' }, { session: 's2' }, { origin: 'n3' }, { target: 'n3' }, { expires_ms: 1 }, { issued_ms: 1_000_001 }, { nonce: Buffer.alloc(16, 9) }]) {
    const shown = { ...at, ...change };
    t.is(code(() => new ProofGate().check(publicKey, sessionProofBytes({ ...session, ...shown }), signature, shown, 1_000_000)), 'XOS_PROOF', JSON.stringify(change));
  }
});

test('a proof of one kind is none of another, nor of another key', async (t) => {
  const at = moment(1_000_000, 3);
  const signature = signBytes(key, sessionProofBytes({ ...session, ...at }));
  const admin = adminProofBytes({ vo: 'demo', origin: 'n1', operation: 'member-add', request: Buffer.from('{}'), ...at });
  const renew = renewProofBytes({ vo: 'demo', session: 's1', origin: 'n1', csr: Buffer.alloc(0), ...at });
  for (const bytes of [admin, renew]) t.is(code(() => new ProofGate().check(publicKey, bytes, signature, at, 1_000_000)), 'XOS_PROOF');
  const other = createPublicKey(keyToPem(await newKey()));
  t.is(code(() => new ProofGate().check(other, sessionProofBytes({ ...session, ...at }), signature, at, 1_000_000)), 'XOS_PROOF');
});

test('clocks that differ too much are named as the reason', (t) => {
  for (const [now_ms, expected] of [[1_000_000 - 61_000, 'XOS_CLOCK_OFF'], [1_000_000 - 59_000, 'accepted'], [1_000_000 + 89_000, 'accepted'], [1_000_000 + 91_000, 'XOS_CLOCK_OFF']] as const) {
    const at = moment(1_000_000, 4);
    const bytes = sessionProofBytes({ ...session, ...at });
    t.is(code(() => new ProofGate().check(publicKey, bytes, signBytes(key, bytes), at, now_ms)), expected, String(now_ms));
  }
});

test('a nonce or signature of the wrong size is refused', (t) => {
  const at = { issued_ms: 1_000_000, nonce: Buffer.alloc(8) };
  const bytes = sessionProofBytes({ ...session, ...at });
  t.is(code(() => new ProofGate().check(publicKey, bytes, signBytes(key, bytes), at, 1_000_000)), 'XOS_PROOF');
  const good = moment(1_000_000, 5);
  t.is(code(() => new ProofGate().check(publicKey, bytes, Buffer.alloc(0), good, 1_000_000)), 'XOS_PROOF');
});

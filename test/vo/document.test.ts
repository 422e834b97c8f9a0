import test from 'ava';
import { XosError } from '../../src/core/errors.ts';
import { signDocument, verifyDocument, type MembershipDocument } from '../../src/vo/document.ts';
import { keyFromPem } from '../../src/vo/keys.ts';
import { testVo } from './authority.ts';

const demo = await testVo();
const membership = (change: Partial<MembershipDocument> = {}): MembershipDocument => ({
  kind: 'membership', vo: 'demo', number: 1, version: 5, issued_ms: 1, expires_ms: 2, registry: 'n1', members: [], nodes: [], ...change,
});
const sign = (document: MembershipDocument, key = demo.founding.registry_key): Buffer => signDocument(document, keyFromPem(key));
const refused = (t: import('ava').ExecutionContext, envelope: Uint8Array, version = 0): void =>
  void t.is(t.throws<XosError>(() => verifyDocument(envelope, 'membership', demo.trust, version)).code, 'XOS_DOCUMENT');

test('a document comes back as it was signed', (t) => {
  t.deepEqual(verifyDocument(sign(membership()), 'membership', demo.trust, 5), membership());
});

test('an older version than the one held is refused, the same one is not', (t) => {
  refused(t, sign(membership({ version: 4 })), 5);
  t.is(verifyDocument(sign(membership()), 'membership', demo.trust, 5).version, 5);
});

test('another signer, kind, VO or number is refused', async (t) => {
  refused(t, sign(membership(), demo.founding.user_ca_key));
  refused(t, sign(membership(), (await testVo()).founding.registry_key));
  refused(t, sign({ ...membership(), kind: 'revocation' } as never));
  refused(t, sign(membership({ vo: 'other' })));
  refused(t, sign(membership({ number: 2 })));
});

test('a changed payload or signature, and what is no envelope, is refused', (t) => {
  const { payload, signature } = JSON.parse(sign(membership()).toString()) as { payload: string; signature: string };
  const changed = Buffer.from(JSON.stringify(membership({ version: 6 }))).toString('base64');
  for (const envelope of [{ payload: changed, signature }, { payload, signature: '' }, { payload, signature: signature.slice(4) }, {}, [], null, 5]) refused(t, Buffer.from(JSON.stringify(envelope)));
  refused(t, Buffer.from('{'));
  refused(t, Buffer.alloc(0));
});

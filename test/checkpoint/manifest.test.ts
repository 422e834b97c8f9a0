import test from 'ava';
import { crc32c, parseManifest } from '../../src/checkpoint/manifest.ts';
import { manifestText } from './samples.ts';

const parse = (text: string) => parseManifest(Buffer.from(text), 'one', 'show');

test('a manifest of the engine is read', (t) => {
  const manifest = parse(manifestText());
  t.like(manifest, { job: 'n1-1', program: '/usr/bin/python3', user: 'alice', node: 'n2', bytes: 5_242_889, leave_running: false });
  t.deepEqual(manifest.files, [{ name: 'pages-1.img', size: 5 }, { name: 'state.img', size: 9 }]);
});

test('every cut manifest is refused as damaged', (t) => {
  const text = manifestText();
  for (let length = 0; length < text.length; length += 7) t.throws(() => parse(text.slice(0, length)), { code: 'XOS_CHECKPOINT_DAMAGED' }, String(length));
  t.throws(() => parse(text.slice(0, -1)), { code: 'XOS_CHECKPOINT_DAMAGED', message: "cannot show checkpoint 'one': its manifest is cut off; remove it with 'xcheckpoint rm one'" });
});

test('a changed byte is found by the checksum', (t) => {
  t.throws(() => parse(manifestText().replace('"n2"', '"n3"')), { code: 'XOS_CHECKPOINT_DAMAGED', message: /checksum is wrong/ });
});

test('another version and another format are told apart from damage', (t) => {
  t.throws(() => parse(manifestText({ version: 2 })), { code: 'XOS_CHECKPOINT_VERSION', message: /version 2, this node reads version 1/ });
  t.throws(() => parse(manifestText({ format: 'x' })), { code: 'XOS_CHECKPOINT_DAMAGED', message: /no checkpoint of XtreemOS/ });
});

test('fields of the wrong type are refused', (t) => {
  for (const changes of [{ job: 1 }, { bytes: '1' }, { argv: [1] }, { processes: [{ pid: 'x', program: 'y' }] }, { pack: null }, { files: 'x' }]) {
    t.throws(() => parse(manifestText(changes)), { code: 'XOS_CHECKPOINT_DAMAGED', message: /does not make sense/ }, JSON.stringify(changes));
  }
});

test('CRC-32C has the values of RFC 3720', (t) => {
  t.is(crc32c(Buffer.from('123456789')), 0xe3069283);
  t.is(crc32c(Buffer.alloc(32)), 0x8a9136aa);
});

import test from 'ava';
import { deflateRawSync } from 'node:zlib';
import { Random } from '../../../src/overlay/core/index.ts';
import { limits } from '../../../src/overlay/service/limits.ts';
import { pack, unpack } from '../../../src/overlay/service/packed.ts';

const random = new Random(9);
const noise = (bytes: number): Buffer => Buffer.from(Array.from({ length: bytes }, () => random.below(256)));
const alike = (kind: number): Buffer => Buffer.concat([Buffer.from([kind]), ...Array.from({ length: 14 }, () => Buffer.concat([Buffer.alloc(600, 'what every certificate says '), noise(200)]))]);

test('a list of peers is packed and comes back; what is short, noise, or of users stays as it is', (t) => {
  const list = alike(16);
  const packed = Buffer.from(pack(list));
  t.true(packed.length < list.length / 2);
  t.deepEqual(unpack(packed), list);
  for (const frame of [Buffer.from([16, 1, 2]), Buffer.concat([Buffer.from([16]), noise(5_000)]), alike(53)]) {
    t.is(pack(frame), frame);
    t.is(unpack(frame), frame);
  }
  const largest = Buffer.alloc(limits.frame_bytes_max, 16);
  t.deepEqual(unpack(Buffer.from(pack(largest))), largest);
});

test('what nobody packed is malformed: cut, changed, too large, packed twice, of users', (t) => {
  const packed = Buffer.from(pack(alike(16)));
  const mark = packed.subarray(0, 1);
  const again = (frame: Buffer): Buffer => Buffer.concat([mark, deflateRawSync(frame)]);
  for (const frame of [mark, packed.subarray(0, packed.length / 2), again(Buffer.alloc(0)), again(packed), again(alike(53)), again(Buffer.alloc(limits.frame_bytes_max + 1, 16)), again(Buffer.alloc(50_000_000, 16))]) t.is(unpack(Buffer.from(frame)), 'malformed');
  for (let round = 0; round < 2_000; round++) {
    const changed = Buffer.from(packed);
    changed[1 + random.below(changed.length - 1)] = random.below(256);
    const found = unpack(changed);
    t.true(found === 'malformed' || found.length <= limits.frame_bytes_max);
  }
});

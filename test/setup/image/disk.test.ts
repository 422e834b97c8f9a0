import test from 'ava'
import { partitionTable, placeBiosLoader, planDisk } from '../../../src/setup/image/disk.mjs'
import { makeIdentity } from '../../../src/setup/image/identity.mjs'

const { partitions, total_mib } = planDisk({ esp_mib: 256, slot_mib: 640, data_mib: 64 })

test('partitions follow each other, data last, with room for the second partition table', (t) => {
  t.deepEqual(partitions.map(({ name, start_mib, size_mib }: { name: string, start_mib: number, size_mib: number }) => [name, start_mib, size_mib]),
    [['bios', 1, 1], ['esp', 2, 256], ['xos-a', 258, 640], ['xos-b', 898, 640], ['xos-data', 1538, 64]])
  t.is(total_mib, 1603)
})

test('an image names every UUID; a disk that is installed gets its own, and data takes what there is', (t) => {
  const image = partitionTable(partitions, makeIdentity('pc', '1.0'))
  t.regex(image, /^label: gpt\nlabel-id: [0-9a-f-]{36}\n/)
  t.is(image.match(/ uuid=/g)?.length, 5)
  t.regex(image, /start=1538MiB, size=64MiB, .*name="xos-data"\n$/)
  const installed = partitionTable(partitions)
  t.notRegex(installed, /uuid|label-id/)
  t.regex(installed, /start=898MiB, size=640MiB, .*name="xos-b"\nstart=1538MiB, type=\S+, name="xos-data"\n$/)
})

test('boot sector and core of GRUB know where the core lies, and the boot sector leaves the partition table alone', (t) => {
  const { code, core } = placeBiosLoader({ boot: Buffer.alloc(512, 0xaa), core: Buffer.alloc(1024) }, { start_mib: 1, size_mib: 1 })
  t.is(code.length, 440)
  t.is(code.readBigUInt64LE(0x5c), 2048n)
  t.is(core.readBigUInt64LE(0x1f4), 2049n)
  t.throws(() => placeBiosLoader({ boot: Buffer.alloc(512), core: Buffer.alloc(2 << 20) }, { start_mib: 1, size_mib: 1 }), { code: 'XOS_IMAGE_SIZE' })
})

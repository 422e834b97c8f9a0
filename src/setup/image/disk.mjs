// A disk image: GPT with a boot sector for BIOS, a FAT partition for UEFI, two slots for the base and a partition for data, which
// grows to the disk at the first boot.
import { closeSync, ftruncateSync, openSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { SetupError } from '../lib/errors.mjs'

export const SECTOR = 512
const MIB = 1024 * 1024
const TYPES = {
  bios: '21686148-6449-6E6F-744E-656564454649', esp: 'C12A7328-F81F-11D2-BA4B-00A0C93EC93B',
  root: '4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709', data: '0FC63DAF-8483-4772-8E79-3D69D8477DE4',
}

/**
 * The partitions of a flavour's disk; sizes and starts in MiB. The order is that of the disk: data is last, so that it can grow.
 * @param {{esp_mib: number, slot_mib: number, data_mib: number}} disk
 */
export function planDisk(disk) {
  const sizes = [['bios', 1, TYPES.bios], ['esp', disk.esp_mib, TYPES.esp], ['xos-a', disk.slot_mib, TYPES.root], ['xos-b', disk.slot_mib, TYPES.root], ['xos-data', disk.data_mib, TYPES.data]]
  let start = 1
  const partitions = sizes.map(([name, size_mib, type], index) => {
    const partition = { number: index + 1, name, type, start_mib: start, size_mib }
    start += size_mib
    return partition
  })
  return { partitions, total_mib: start + 1 }
}

/**
 * The same for sfdisk. Without an identity the disk and its partitions get UUIDs when it is made, and the last partition takes what there is.
 * @param {ReturnType<typeof planDisk>['partitions']} partitions @param {import('./identity.mjs').Identity} [identity]
 */
export function partitionTable(partitions, identity) {
  const lines = partitions.map((p) => [`start=${p.start_mib}MiB`, ...(identity || p !== partitions.at(-1) ? [`size=${p.size_mib}MiB`] : []), `type=${p.type}`, ...(identity ? [`uuid=${identity.uuid(`partition ${p.name}`)}`] : []), `name="${p.name}"`].join(', '))
  return ['label: gpt', ...(identity ? [`label-id: ${identity.uuid('disk')}`] : []), 'first-lba: 2048', '', ...lines, ''].join('\n')
}

/**
 * @param {import('./context.mjs').Context} context
 * @param {{root: {path: string}, espFiles: string, bios: {boot: Buffer, core: Buffer}, path: string}} inputs `espFiles`: a folder, as it lands
 */
export async function makeDisk({ flavour, identity, work, tool, note }, { root, espFiles, bios, path }) {
  const { partitions, total_mib } = planDisk(flavour.disk)
  const at = (name) => partitions.find((partition) => partition.name === name)
  const slot = at('xos-a')
  const size = statSync(root.path).size
  if (size > slot.size_mib * MIB) {
    throw new SetupError('XOS_IMAGE_SIZE', `cannot put the root of '${flavour.name}' into its slot: it has ${Math.ceil(size / MIB)} MiB, the slot ${slot.size_mib}; raise disk.slot_mib in its flavour.json`)
  }
  note?.('making its file systems')
  const esp = join(work, 'esp.img')
  await makeFat(tool, { path: esp, size_mib: at('esp').size_mib, files: espFiles, identity, label: 'XOS-ESP' })
  const data = join(work, 'data.img')
  rmSync(data, { force: true })
  writeFileSync(data, '')
  await tool(['env', `SOURCE_DATE_EPOCH=${identity.epoch}`, 'mke2fs', '-q', '-t', 'ext4', '-L', 'xos-data', '-U', identity.uuid('data'), '-E', `hash_seed=${identity.uuid('hash seed')},lazy_itable_init=1`, '-m', '0', data, `${at('xos-data').size_mib}M`])
  note?.('putting the disk together')
  rmSync(path, { force: true })
  const fd = openSync(path, 'w')
  ftruncateSync(fd, total_mib * MIB)
  closeSync(fd)
  writeFileSync(join(work, 'partitions'), partitionTable(partitions, identity))
  await tool(['sh', '-c', 'sfdisk --quiet --no-reread --no-tell-kernel "$1" <"$2"', '-', path, join(work, 'partitions')])
  for (const [name, image] of [['esp', esp], ['xos-a', root.path], ['xos-data', data]]) {
    await tool(['dd', 'status=none', 'bs=1M', 'conv=notrunc,sparse', `seek=${at(name).start_mib}`, `if=${image}`, `of=${path}`])
  }
  writeBiosLoader(path, bios, at('bios'))
}

/** A FAT file system with the files of a folder; the same bytes each time. @param {(command: readonly string[]) => Promise<string>} tool */
export async function makeFat(tool, { path, size_mib, files, identity, label, fat = 32 }) {
  rmSync(path, { force: true })
  const volume = identity.bytes(`fat ${label}`, 4)
  // mtools: `-m` keeps the files' times, which are all the same (they are set before); --invariant makes mkfs.fat use no clock.
  const script = `set -e
    find "$3" -exec touch -h -d "@$4" {} +
    mkfs.fat --invariant -F ${fat} -s ${fat === 32 ? 1 : 4} -i "$5" -n "$6" -C "$1" "$(($2 * 1024))" >/dev/null
    cd "$3"
    TZ=UTC MTOOLS_SKIP_CHECK=1 mcopy -s -p -m -Q -i "$1" $(ls | sort) ::`
  await tool(['bash', '-c', script, '-', path, String(size_mib), files, String(identity.epoch), volume, label])
}

/** Where the code in a boot sector ends; behind it are the disk's signature and the protective partition table. */
const BOOT_CODE_BYTES = 440

/**
 * What grub-bios-setup does to a disk: boot.img for the boot sector, core.img for its partition, each told where the next one is.
 * @param {{boot: Buffer, core: Buffer}} grub @param {{start_mib: number, size_mib: number}} partition @returns {{code: Buffer, core: Buffer}}
 */
export function placeBiosLoader({ boot, core }, partition) {
  const start = partition.start_mib * (MIB / SECTOR)
  if (core.length > partition.size_mib * MIB) throw new SetupError('XOS_IMAGE_SIZE', `cannot put GRUB into its partition: its core has ${core.length} bytes`)
  const code = Buffer.from(boot.subarray(0, BOOT_CODE_BYTES))
  code.writeBigUInt64LE(BigInt(start), 0x5c) // GRUB_BOOT_MACHINE_KERNEL_SECTOR
  code.writeUInt16LE(0x9090, 0x66) // GRUB_BOOT_MACHINE_DRIVE_CHECK: a disk, whatever the BIOS says
  const placed = Buffer.from(core)
  placed.writeBigUInt64LE(BigInt(start + 1), 0x1f4) // first entry of the block list at the end of its first sector
  return { code, core: placed }
}

function writeBiosLoader(path, grub, partition) {
  const { code, core } = placeBiosLoader(grub, partition)
  const fd = openSync(path, 'r+')
  try {
    writeSync(fd, code, 0, code.length, 0)
    writeSync(fd, core, 0, core.length, partition.start_mib * MIB)
  } finally {
    closeSync(fd)
  }
}

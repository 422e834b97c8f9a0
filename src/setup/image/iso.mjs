// An ISO that starts from a CD, a USB stick or as a virtual disk, with UEFI and BIOS. What it runs is the same root as a disk's, as a file;
// nothing that is written is kept; xos-install makes a disk of it that does.
import { copyFileSync, mkdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { layOut, makeUefiLoader } from './boot-files.mjs'
import { makeFat } from './disk.mjs'
import { makeGrub } from './grub.mjs'
import { installFiles, mediumFiles } from './medium.mjs'

const MIB = 1024 * 1024

/** @param {import('./context.mjs').Context} context @param {import('./context.mjs').Made} made @param {string} path */
export async function makeIso(context, made, path) {
  const { work, identity, tool, tools, note } = context
  const { version } = identity
  const tree = join(work, 'iso')
  const esp = join(work, 'iso-esp')
  for (const folder of [tree, esp]) rmSync(folder, { recursive: true, force: true })
  layOut(esp, { 'EFI/BOOT/BOOTX64.EFI': { from: await makeUefiLoader(context, made.keys) }, [`EFI/Linux/xos-${version}.efi`]: { from: made.uki }, 'loader/loader.conf': 'timeout 1\n' })
  // FAT16, without which some firmware does not take the partition of a hybrid ISO for an EFI one; at least 16 MiB make it one.
  const efi = join(work, 'efi.img')
  const size_mib = Math.max(24, Math.ceil((statSync(made.uki).size + statSync(join(esp, 'EFI/BOOT/BOOTX64.EFI')).size) / MIB) + 4)
  await makeFat(tool, { path: efi, size_mib, files: esp, identity, label: 'XOS-ISO', fat: 16 })
  const core = await makeGrub(context, { bootKey: made.keys.bootKey, format: 'i386-pc-eltorito', menu: 'iso.cfg' })
  layOut(tree, {
    ...mediumFiles(version, made), 'boot/grub.img': core,
    ...(context.flavour.disk === undefined ? {} : await installFiles(context, made)),
  })
  mkdirSync(join(tree, 'xos'), { recursive: true })
  copyFileSync(made.root.path, join(tree, 'xos/root.img'))
  copyFileSync(join(tools, 'usr/lib/grub/i386-pc/boot_hybrid.img'), join(work, 'boot_hybrid.img'))
  note?.('writing the ISO')
  const time = new Date(identity.epoch * 1000).toISOString().replace(/[-:T]/g, '').slice(0, 14)
  rmSync(path, { force: true })
  await tool(['xorriso', '-as', 'mkisofs', '-quiet', '-volid', 'XTREEMOS', '-appid', `xtreemos-${context.flavour.name}`, '-iso-level', '3', '-r', '-J',
    `--modification-date=${time}00`, '--set_all_file_dates', `${time}00`, '--gpt_disk_guid', identity.uuid('iso'),
    '-partition_offset', '16',
    '--grub2-mbr', join(work, 'boot_hybrid.img'), '-b', 'boot/grub.img', '-no-emul-boot', '-boot-load-size', '4', '-boot-info-table', '--grub2-boot-info',
    '-eltorito-alt-boot', '-append_partition', '2', '0xef', efi, '-appended_part_as_gpt', '-e', '--interval:appended_partition_2:all::', '-no-emul-boot',
    '-o', path, tree], { environment: { SOURCE_DATE_EPOCH: String(identity.epoch) } })
}

// What a disk and an ISO have in common: the files that boot loaders start a version by, and what an ISO carries to become a disk (xos-install).
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { makeUefiLoader } from './boot-files.mjs'
import { partitionTable, placeBiosLoader, planDisk } from './disk.mjs'
import { biosFiles, grubEnvironment, makeGrub } from './grub.mjs'

/** For systemd-boot, as they land on a disk's EFI partition. @param {import('./context.mjs').Context} context @param {import('./context.mjs').Made} made */
export async function uefiFiles(context, { uki, keys }) {
  return {
    'EFI/BOOT/BOOTX64.EFI': { from: await makeUefiLoader(context, keys) },
    [`EFI/Linux/xos-${context.identity.version}.efi`]: { from: uki },
    'loader/loader.conf': 'timeout 1\nconsole-mode keep\n',
    'loader/entries.srel': 'type1\n',
    'xos/slots.json': `${JSON.stringify({ 'xos-a': context.identity.version })}\n`,
  }
}

/** For GRUB. @param {string} version @param {import('./context.mjs').Made} made */
export function mediumFiles(version, { linux, initrd, line, keys }) {
  return {
    ...biosFiles({ version, linux: readFileSync(linux), initrd: readFileSync(initrd), line, bootKey: keys.bootKey }),
    'xos/grubenv': grubEnvironment({ xos_version: version, xos_before: '', xos_tries: '' }),
  }
}

/** GRUB for a disk that a BIOS starts. @param {import('./context.mjs').Context} context @param {{bootKey: string}} keys */
export async function diskGrub(context, { bootKey }) {
  return { boot: readFileSync(join(context.tools, 'usr/lib/grub/i386-pc/boot.img')), core: await makeGrub(context, { bootKey, format: 'i386-pc' }) }
}

/** What xos-install makes a disk of, besides the root and GRUB's files, which the ISO has anyway. @param {import('./context.mjs').Context} context @param {import('./context.mjs').Made} made */
export async function installFiles(context, made) {
  const { partitions } = planDisk(context.flavour.disk)
  const { code, core } = placeBiosLoader(await diskGrub(context, made.keys), partitions.find(({ name }) => name === 'bios'))
  const esp = Object.entries(await uefiFiles(context, made)).map(([name, content]) => [`install/esp/${name}`, content])
  return { 'install/partitions': partitionTable(partitions), 'install/boot.img': code, 'install/core.img': core, ...Object.fromEntries(esp) }
}

// The files that boot loaders start a version by.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { makeUefiLoader } from './boot-files.mjs'
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

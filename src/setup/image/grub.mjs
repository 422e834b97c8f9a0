// The boot loader for BIOS: GRUB, made of a few modules, a menu (image/boot/grub.cfg) and the key that it checks all it reads with.
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { clone } from '../lib/paths.mjs'
import { detachedSignature, publicKeyPacket } from './openpgp.mjs'

/** The date of every boot key: part of a key's identity in OpenPGP, so it has to be the same wherever the key is used. */
const KEY_EPOCH = 1767225600
const MODULES = ['biosdisk', 'part_gpt', 'part_msdos', 'fat', 'iso9660', 'memdisk', 'tar', 'normal', 'configfile', 'loadenv', 'linux', 'test', 'echo', 'search',
  'search_label', 'serial', 'terminal', 'reboot', 'halt', 'sleep', 'pgp', 'gcry_rsa', 'gcry_sha256', 'boot', 'minicmd']
const ENVIRONMENT_BYTES = 1024

/** The signature that GRUB wants beside a file, as FILE.sig. @param {Buffer} data @param {string} keyPath */
export const bootSignature = (data, keyPath) => detachedSignature(data, readFileSync(keyPath), KEY_EPOCH)

/**
 * @param {import('./context.mjs').Context} context @param {{bootKey: string, format: 'i386-pc' | 'i386-pc-eltorito', menu?: string}} options `menu`: name in image/boot
 * @returns {Promise<Buffer>}
 */
export async function makeGrub({ work, identity, tool }, { bootKey, format, menu = 'grub.cfg' }) {
  const folder = join(work, `grub-${format}`)
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  copyFileSync(join(clone, 'image/boot', menu), join(folder, 'grub.cfg'))
  writeFileSync(join(folder, 'early.cfg'), 'set prefix=(memdisk)/\nnormal (memdisk)/grub.cfg\n')
  writeFileSync(join(folder, 'key.pgp'), publicKeyPacket(readFileSync(bootKey), KEY_EPOCH))
  await tool(['sh', '-c', 'cd "$1" && tar --format=ustar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$2" -cf memdisk.tar grub.cfg', '-', folder, String(identity.epoch)])
  const core = join(folder, 'core.img')
  await tool(['grub-mkimage', '-O', format, '-o', core, '-p', '(memdisk)/', '-c', join(folder, 'early.cfg'), '-m', join(folder, 'memdisk.tar'), '--pubkey', join(folder, 'key.pgp'), ...MODULES])
  return readFileSync(core)
}

/** The files of one version for BIOS, each with its signature. @param {{version: string, linux: Buffer, initrd: Buffer, line: string, bootKey: string}} inputs */
export function biosFiles({ version, linux, initrd, line, bootKey }) {
  const files = { linux, initrd, 'boot.cfg': Buffer.from(`set xos_line="${line}"\n`) }
  return Object.fromEntries(Object.entries(files).flatMap(([name, data]) => [[`xos/${version}/${name}`, data], [`xos/${version}/${name}.sig`, bootSignature(data, bootKey)]]))
}

/** GRUB's environment block: 1,024 bytes, as it writes in place. @param {Readonly<Record<string, string>>} values */
export function grubEnvironment(values) {
  const text = `# GRUB Environment Block\n${Object.entries(values).map(([name, value]) => `${name}=${value}\n`).join('')}`
  if (text.length > ENVIRONMENT_BYTES) throw new RangeError('GRUB keeps at most 1,024 bytes')
  return text.padEnd(ENVIRONMENT_BYTES, '#')
}

// What a boot loader starts: a unified kernel image for UEFI (kernel, initrd and command line in one signed file), the same three as files for BIOS.
import { copyFileSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { clone } from '../lib/paths.mjs'

/** The command line that names the root by its hash: who signs it signs every block of the root. @param {import('./context.mjs').Context['flavour']} flavour @param {{uuid: string, hash: string, salt: string, blocks: number}} root @param {readonly string[]} [more] */
export function commandLine(flavour, root, more = []) {
  return [`xos.root=${root.uuid}:${root.hash}:${root.salt}:${root.blocks}`, `xos.format=${flavour.root.format}`, flavour.kernel.commandLine, ...more].join(' ')
}

/**
 * @param {import('./context.mjs').Context} context @param {{line: string, initrd: string, name: string, keys: {bootKey: string, bootCertificate: string}}} inputs
 * @returns {Promise<string>} path of the signed image
 */
export async function makeUnifiedKernel({ work, kernel, identity, flavour, tool }, { line, initrd, name, keys }) {
  const release = join(work, 'os-release')
  writeFileSync(release, `ID=debian\nID_LIKE=debian\nNAME="XtreemOS"\nPRETTY_NAME="XtreemOS ${flavour.name} ${identity.version}"\nIMAGE_ID=xtreemos-${flavour.name}\nIMAGE_VERSION=${identity.version}\nVERSION_ID=${identity.version}\n`)
  writeFileSync(join(work, 'cmdline'), line)
  const path = join(work, name)
  await tool(['ukify', 'build', `--linux=${join(work, 'kernel/linux')}`, `--initrd=${initrd}`, `--cmdline=@${join(work, 'cmdline')}`, `--os-release=@${release}`, `--uname=${kernel.version}`, `--output=${path}.unsigned`])
  await signProgram({ work, identity, tool }, `${path}.unsigned`, path, keys)
  return path
}

/** Signs a UEFI program for Secure Boot; the same bytes each time. @param {Pick<import('./context.mjs').Context, 'work' | 'identity' | 'tool'>} context @param {string} source @param {string} target @param {{bootKey: string, bootCertificate: string}} keys */
export async function signProgram({ work, identity, tool }, source, target, keys) {
  const library = join(work, 'fixed-time.so')
  if (!existsSync(library)) await tool(['gcc', '-shared', '-fPIC', '-O1', '-o', library, join(clone, 'image/tools/fixed-time.c')])
  await tool(['env', `LD_PRELOAD=${library}`, `SOURCE_DATE_EPOCH=${identity.epoch}`, 'sbsign', '--key', keys.bootKey, '--cert', keys.bootCertificate, '--output', target, source])
}

/** The boot loader for UEFI, signed. @param {import('./context.mjs').Context} context @param {{bootKey: string, bootCertificate: string}} keys */
export async function makeUefiLoader({ work, identity, tools, tool }, keys) {
  const source = join(work, 'systemd-boot.efi')
  copyFileSync(join(tools, 'usr/lib/systemd/boot/efi/systemd-bootx64.efi'), source)
  await signProgram({ work, identity, tool }, source, join(work, 'BOOTX64.EFI'), keys)
  return join(work, 'BOOTX64.EFI')
}

/** Folder of files for a FAT partition, laid out as they land. @param {string} folder @param {Readonly<Record<string, string | Buffer>>} files text or `{from}` */
export function layOut(folder, files) {
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(folder, name, '..'), { recursive: true })
    if (typeof content === 'string' || Buffer.isBuffer(content)) writeFileSync(join(folder, name), content)
    else copyFileSync(content.from, join(folder, name))
  }
}

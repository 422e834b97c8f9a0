//  disk 1.0 ── our certificate enrolled ──▶ 1.0 by Secure Boot ── update 2.0, changed on the disk ──▶ refused by the firmware ── power cycle ──▶ 1.0
//  /dev/vdb: the update, /dev/vdc: the certificate as the firmware wants it
// Needs: the tools root, QEMU (TCG) with UEFI that knows Secure Boot. Four boots.
import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { runTool } from '../../../src/setup/image/tools.mjs'
import { build } from '../../../src/setup/lib/paths.mjs'
import { freshDisk } from './images.ts'
import { boot_ms, startImage } from './machine.ts'

const keys = join(build, 'image/keys')
const secure_boot = 'od -An -tu1 -j4 /sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c'

const NAMES = { PK: '8be4df61-93ca-11d2-aa0d-00e098032b8c', KEK: '8be4df61-93ca-11d2-aa0d-00e098032b8c', db: 'd719b2cb-3d3a-4596-a3bc-dad00e67656f' } as const
const PKCS7 = '4aafd29d-68df-49ee-8aa9-347d375665a7'
/** Not volatile, for boot services, at run time, written with a time that is signed. */
const ATTRIBUTES = 0x27
/** In front of the signed data in what openssl makes: UEFI wants it without. */
const CONTENT_INFO_BYTES = 19

const guidBytes = (text: string): Buffer => {
  const raw = Buffer.from(text.replaceAll('-', ''), 'hex')
  return Buffer.concat([raw.subarray(0, 4).reverse(), raw.subarray(4, 6).reverse(), raw.subarray(6, 8).reverse(), raw.subarray(8)])
}

/**
 * Our certificate as platform key, key exchange key and the one that programs are signed by: a tar file that a machine can have as a disk. Each is an
 * EFI_VARIABLE_AUTHENTICATION_2 (UEFI 2.10, 8.2.2), written here since sbvarsign 0.9.5 signs other bytes than the firmware checks.
 */
async function enrolment (tools: string, folder: string): Promise<string> {
  const tool = async (...command: string[]): Promise<string> => await runTool(tools, command, { binds: [folder] })
  const file = (name: string): string => join(folder, name)
  await tool('openssl', 'x509', '-in', join(keys, 'boot.crt'), '-outform', 'DER', '-out', file('boot.der'))
  await tool('sbsiglist', '--owner', '5f2b0bd4-8c1f-4a53-9d0c-3f2f7f1b1e58', '--type', 'x509', '--output', file('boot.esl'), file('boot.der'))
  const list = readFileSync(file('boot.esl'))
  const time = Buffer.alloc(16)
  time.set([0xea, 0x07, 1, 1]) // the first of January 2026
  for (const [name, vendor] of Object.entries(NAMES)) {
    const attributes = Buffer.alloc(4)
    attributes.writeUInt32LE(ATTRIBUTES)
    writeFileSync(file(`${name}.signed`), Buffer.concat([Buffer.from(name, 'utf16le'), guidBytes(vendor), attributes, time, list]))
    await tool('openssl', 'cms', '-sign', '-binary', '-noattr', '-md', 'sha256', '-signer', join(keys, 'boot.crt'), '-inkey', join(keys, 'boot.key'), '-outform', 'DER', '-in', file(`${name}.signed`), '-out', file(`${name}.p7`))
    const signature = readFileSync(file(`${name}.p7`)).subarray(CONTENT_INFO_BYTES)
    const head = Buffer.alloc(8)
    head.writeUInt32LE(8 + 16 + signature.length) // this head, the kind of signature, the signature
    head.writeUInt16LE(0x0200, 4)
    head.writeUInt16LE(0x0ef1, 6)
    writeFileSync(file(`${name}.auth`), Buffer.concat([time, head, guidBytes(PKCS7), signature, list]))
  }
  await tool('tar', '-C', folder, '-cf', file('keys.tar'), ...Object.keys(NAMES).map((name) => `${name}.auth`))
  // A disk has no less.
  truncateSync(file('keys.tar'), 1024 * 1024)
  return file('keys.tar')
}

test.serial('with our certificate in the firmware a machine starts what we signed, and no kernel that was changed on the disk', async (t) => {
  t.timeout(40 * 60_000)
  const { images, tools, folder, disk, variables } = await freshDisk(t)
  const shape = { firmware: 'uefi', secure: true, disk, variables, drives: [images.update, await enrolment(tools, folder)] } as const
  const machine = await startImage(t, shape)
  await machine.logIn({ first: true })
  t.is((await machine.must(secure_boot)).trim(), '0')
  await machine.must('mkdir /run/esp; mount LABEL=XOS-ESP /run/esp; mkdir -p /run/esp/loader/keys/auto; tar -xf /dev/vdc -C /run/esp/loader/keys/auto; umount /run/esp')

  // systemd-boot enrols what it finds there when it runs in a virtual machine whose firmware has no keys yet, and starts again.
  machine.console.send('sync; systemctl reboot')
  await machine.logIn()
  t.is((await machine.must(secure_boot)).trim(), '1')
  // The kernel takes our modules, which the same key signed, and none without a signature.
  await machine.must('modprobe xos_cred && grep -q ^xos_cred /proc/modules && rmmod xos_cred')
  await machine.must('cp $(modinfo -n xos_cred) /run/unsigned.ko; truncate -s -1 /run/unsigned.ko')
  t.regex((await machine.run('insmod /run/unsigned.ko')).output, /not permitted|rejected/)

  await machine.must('xos-update /dev/vdb; mkdir -p /run/esp; mount LABEL=XOS-ESP /run/esp; ls /run/esp/EFI/Linux', 600_000)
  await machine.must('echo changed | dd of=$(echo /run/esp/EFI/Linux/xos-2.0*.efi) bs=1 seek=1000000 conv=notrunc status=none; umount /run/esp')
  const before = machine.console.text().length
  machine.console.send('sync; systemctl reboot')
  await machine.console.expect(/xos-2\.0[^\n]*(Access denied|Security violation)/i, boot_ms)
  t.notRegex(machine.console.text().slice(before).split('BdsDxe: starting')[1] ?? '', /login:|this version is on trial/)
  await machine.kill()

  const again = await startImage(t, shape)
  await again.logIn()
  t.regex(await again.must('cat /etc/os-release'), /IMAGE_VERSION=1\.0\n/)
  t.is((await again.must(secure_boot)).trim(), '1')
})

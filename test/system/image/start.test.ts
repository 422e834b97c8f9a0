//  disk (version 1.0, 1.6 GB image on a 4 GB disk)  ── UEFI ─┐
//  the same disk                                    ── BIOS ─┼─ one machine each, serial console only
//  ISO, and the disk that it makes                  ── both ─┘
// Needs: the tools root, QEMU (TCG). Boots take 15 s on a quiet machine.
import { join } from 'node:path'
import test from 'ava'
import { makeOverlay, makeVariables } from '../../../src/setup/image/qemu.mjs'
import { runTool, toolsRoot } from '../../../src/setup/image/tools.mjs'
import { testImages } from './images.ts'
import { boot_ms, scratch, startImage } from './machine.ts'

test.serial('a disk starts with UEFI, grows to its size, and keeps what is written beside a base that cannot be', async (t) => {
  t.timeout(40 * 60_000)
  const { disk: image } = await testImages()
  const tools = toolsRoot().path
  const folder = scratch(t)
  const [disk, variables] = [join(folder, 'disk.qcow2'), join(folder, 'variables.fd')]
  await makeOverlay(tools, image, disk, { size_gib: 4 })
  makeVariables(tools, variables)
  const machine = await startImage(t, { firmware: 'uefi', disk, variables })
  await machine.logIn({ first: true })
  t.regex(await machine.must('cat /etc/os-release'), /IMAGE_ID=xtreemos-pc\nIMAGE_VERSION=1\.0\n/)
  t.is((await machine.must('test -d /sys/firmware/efi && findmnt -no FSTYPE /')).trim(), 'erofs')
  await machine.must('until systemctl is-system-running --wait >/dev/null || test $(systemctl is-system-running) = degraded; do sleep 1; done', boot_ms)
  // There is no network here to wait for.
  t.is(await machine.must("systemctl --failed --no-legend --plain | grep -v '^systemd-networkd-wait-online' || true"), '')
  t.not((await machine.run('touch /usr/bin/new')).status, 0, 'the base cannot be written')
  t.not((await machine.run('echo x > /lib/os-release')).status, 0)
  const blocks = Number(await machine.must("findmnt -bno SIZE /writable"))
  t.true(blocks > 2 * 2 ** 30, `the data partition has grown to ${blocks} bytes`)
  await machine.must('echo kept > /etc/kept && echo kept > /var/lib/xos/kept && useradd -m carol && sync')
  // /etc/shadow and the like come from the base until somebody changes them.
  t.regex(await machine.must('xos-update'), /^\* 1\.0\s+xos-a\s+good/m)
  await machine.kill()

  const again = await startImage(t, { firmware: 'bios', disk })
  await again.logIn()
  t.is((await again.run('test -d /sys/firmware/efi')).status, 1, 'the same disk starts with a BIOS')
  t.is(await again.must('cat /etc/kept /var/lib/xos/kept'), 'kept\nkept\n')
  t.is((await again.must('stat -c %U /home/carol')).trim(), 'carol')
})

test.serial('a block of the base that was changed is refused: the machine says so and does not start', async (t) => {
  t.timeout(20 * 60_000)
  const { disk: image } = await testImages()
  const tools = toolsRoot().path
  const disk = join(scratch(t), 'disk.qcow2')
  await makeOverlay(tools, image, disk)
  // One byte in the superblock's block of the root, where slot xos-a begins: it is read at every start. 1 + 1 + 256 MiB are in front of it.
  await runTool(tools, ['qemu-io', '-f', 'qcow2', '-c', `write -P 0x5a ${258 * 1024 * 1024 + 512} 1`, disk], { binds: [join(image, '..')] })
  const machine = await startImage(t, { firmware: 'bios', disk })
  await machine.console.expect(/device-mapper: verity: .*data block 0 is corrupted/, boot_ms)
  await machine.console.expect(/Kernel panic - not syncing: dm-verity/, 120_000)
  t.notRegex(machine.console.text(), /login: /, 'it never came up')
})

for (const firmware of ['bios', 'uefi'] as const) {
  test.serial(`an ISO starts, keeps nothing, and makes a disk that does (${firmware})`, async (t) => {
    t.timeout(30 * 60_000)
    const { iso } = await testImages()
    const tools = toolsRoot().path
    const folder = scratch(t)
    const [disk, variables] = [join(folder, 'disk.qcow2'), join(folder, 'variables.fd')]
    await runTool(tools, ['qemu-img', 'create', '-q', '-f', 'qcow2', disk, '4G'], {})
    makeVariables(tools, variables)
    const machine = await startImage(t, { firmware, iso, disk, variables })
    await machine.logIn({ first: true })
    t.is((await machine.must('findmnt -no FSTYPE /writable')).trim(), 'tmpfs')
    t.regex((await machine.run('xos-update')).output, /cannot update this system: it does not run from a disk with two slots/)
    t.regex((await machine.run('xos-install --yes /dev/sr0')).output, /cannot install to '\/dev\/sr0': it is no disk/)
    t.regex((await machine.run('xos-install /dev/vda </dev/null')).output, /All that is on \/dev\/vda/)
    t.regex(await machine.must('xos-install --yes /dev/vda', 600_000), /done: take the medium out/)
    await machine.kill()

    const installed = await startImage(t, { firmware, disk, variables })
    await installed.logIn({ first: true })
    t.is((await installed.must('findmnt -no FSTYPE /writable')).trim(), 'ext4')
    t.regex(await installed.must('xos-update'), /^\* 1\.0\s+xos-a\s+good/m)
    t.regex((await installed.run('xos-install /dev/vda')).output, /it does not run from an XtreemOS ISO/)
  })
}

//  disk 1.0 ── update 2.0 ──▶ 2.0 ── xos-update --rollback ──▶ 1.0 ── broken 3.0 ──▶ panics, counted down ──▶ 1.0
//  bundles are further disks of the machine: /dev/vdb good, /dev/vdc tampered, /dev/vdd broken
// Needs: the tools root, QEMU (TCG). Six boots.
import { join } from 'node:path'
import test from 'ava'
import { makeOverlay, makeVariables } from '../../../src/setup/image/qemu.mjs'
import { toolsRoot } from '../../../src/setup/image/tools.mjs'
import { testImages } from './images.ts'
import { boot_ms, scratch, startImage } from './machine.ts'

for (const firmware of ['uefi', 'bios'] as const) {
  test.serial(`an update is tried, kept and rolled back; a bad one rolls itself back (${firmware})`, async (t) => {
    t.timeout(60 * 60_000)
    const images = await testImages()
    const tools = toolsRoot().path
    const folder = scratch(t)
    const [disk, variables] = [join(folder, 'disk.qcow2'), join(folder, 'variables.fd')]
    await makeOverlay(tools, images.disk, disk)
    makeVariables(tools, variables)
    const machine = await startImage(t, { firmware, disk, variables, drives: [images.update, images.tampered, images.broken] })
    const running = async (): Promise<string> => /IMAGE_VERSION=(.*)/.exec(await machine.must('cat /etc/os-release'))?.[1] ?? ''
    const restart = async (): Promise<void> => {
      machine.console.send('sync; systemctl reboot')
      await machine.logIn()
    }
    await machine.logIn({ first: true })

    const tampered = await machine.run('xos-update /dev/vdc')
    t.is(tampered.status, 1)
    t.regex(tampered.output, /its part 'root' is not what was signed: the file is damaged or was changed; nothing was changed/)
    t.regex((await machine.run('xos-update /dev/vda')).output, /it is no update bundle/)
    t.is((await machine.must('xos-update')).trim().split('\n').length, 1, 'a refused update leaves nothing behind')

    await machine.must('echo mine > /etc/mine; xos-update /dev/vdb', 600_000)
    t.regex(await machine.must('xos-update'), /^ {2}2\.0\s+xos-b\s+trial/m)
    await restart()
    t.is(await running(), '2.0')
    t.is(await machine.must('cat /etc/mine'), 'mine\n')
    await machine.must('until xos-update | grep -Eq "^\\* 2.0 +xos-b +good"; do sleep 2; done', boot_ms)

    await machine.must('xos-update --rollback')
    await restart()
    t.is(await running(), '1.0')

    await machine.must('xos-update /dev/vdd', 600_000)
    machine.console.send('sync; systemctl reboot')
    const began = performance.now()
    await machine.console.expect(/Kernel panic - not syncing: dm-verity/, boot_ms)
    await machine.logIn()
    t.log(`from the restart to the prompt of the version before: ${Math.round((performance.now() - began) / 1000)} s, with one start of the bad one`)
    t.is(await running(), '1.0')
    t.regex(await machine.must('xos-update'), firmware === 'uefi' ? /^ {2}3\.0\s+xos-b\s+bad/m : /^\* 1\.0\s+xos-a/m)
    t.is(await machine.must('cat /etc/mine'), 'mine\n')
  })
}

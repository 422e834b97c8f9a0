//  disk 1.0 ── update 2.0 ──▶ 2.0 ── xos-update --rollback ──▶ 1.0 ── broken 3.0 ──▶ panics, counted down ──▶ 1.0
//                         └─▶ 2.0 that hangs, or whose daemon ends ──▶ is known to be bad ──▶ 1.0
//                         └─▶ 2.0 whose kernel, initrd or command line was changed ──▶ is not started ──▶ 1.0
//  bundles are further disks of the machine: /dev/vdb good, /dev/vdc tampered, /dev/vdd broken
// Needs: the tools root, QEMU (TCG). Six boots of each firmware, five and four more of the tests after them.
import test, { type ExecutionContext } from 'ava'
import { freshDisk } from './images.ts'
import { boot_ms, type ImageMachine, startImage } from './machine.ts'

interface Updated {
  readonly machine: ImageMachine
  running(): Promise<string>
  restart(): Promise<void>
  /** Restarts, waits for what tells that this start is given up, and logs in on the version before; tells how long that took from the loader's choice of the bad one on. */
  comesBack(sign: RegExp): Promise<void>
}

async function startDisk (t: ExecutionContext, firmware: 'uefi' | 'bios'): Promise<Updated> {
  const { images, disk, variables } = await freshDisk(t)
  const machine = await startImage(t, { firmware, disk, variables, drives: [images.update, images.tampered, images.broken] })
  await machine.logIn({ first: true })
  const restart = async (): Promise<void> => {
    machine.console.send('sync; systemctl reboot')
    await machine.logIn()
  }
  return {
    machine,
    running: async () => /IMAGE_VERSION=(.*)/.exec(await machine.must('cat /etc/os-release'))?.[1] ?? '',
    restart,
    comesBack: async (sign) => {
      machine.console.send('sync; systemctl reboot')
      await machine.console.expect(firmware === 'uefi' ? /BdsDxe: starting/ : /Booting [`']XtreemOS/, boot_ms)
      const began = performance.now()
      await machine.console.expect(sign, boot_ms)
      const known = performance.now()
      await machine.logIn()
      const seconds = (since: number): number => Math.round((performance.now() - since) / 1000)
      t.log(`${firmware}, ${sign.source}: known to be bad ${seconds(began) - seconds(known)} s after its start, root logged in on the version before ${seconds(began)} s after it`)
    },
  }
}

for (const firmware of ['uefi', 'bios'] as const) {
  test.serial(`an update is tried, kept and rolled back; a bad one rolls itself back (${firmware})`, async (t) => {
    t.timeout(60 * 60_000)
    const { machine, running, restart, comesBack } = await startDisk(t, firmware)

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
    t.is(await machine.must('pgrep -c @xos-trial || true'), '0\n', 'nobody watches a version that was confirmed')

    await machine.must('xos-update --rollback')
    await restart()
    t.is(await running(), '1.0')

    await machine.must('xos-update /dev/vdd', 600_000)
    await comesBack(/Kernel panic - not syncing: dm-verity/)
    t.is(await running(), '1.0')
    t.regex(await machine.must('xos-update'), firmware === 'uefi' ? /^ {2}3\.0\s+xos-b\s+bad/m : /^\* 1\.0\s+xos-a/m)
    t.is(await machine.must('cat /etc/mine'), 'mine\n')
  })
}

test.serial('a version that hangs, and one whose daemon does not run, are left by themselves', async (t) => {
  t.timeout(60 * 60_000)
  const { machine, running, comesBack } = await startDisk(t, 'bios')
  const put = async (path: string, text: string): Promise<void> => void await machine.must(`mkdir -p $(dirname ${path}); echo ${Buffer.from(text).toString('base64')} | base64 -d >${path}; systemctl daemon-reload`)
  const only_old = 'grep -q ^IMAGE_VERSION=1 /etc/os-release'

  // A mistake in the new version, as far as the machine can tell: what logins wait for never ends.
  await put('/etc/systemd/system/stuck.service', `[Unit]\nBefore=systemd-user-sessions.service\n[Service]\nType=oneshot\nExecStart=/bin/sh -c '${only_old} || exec sleep infinity'\n[Install]\nWantedBy=multi-user.target\n`)
  await machine.must('systemctl -q enable stuck')
  await machine.must('xos-update /dev/vdb', 600_000)
  await comesBack(/nobody confirmed this version, and nothing has happened for 15 s: it hangs/)
  t.is(await running(), '1.0')

  // People can log in, but the node is none any more.
  await machine.must('systemctl -q disable stuck')
  await put('/etc/systemd/system/xosd.service.d/bad.conf', `[Service]\nExecStartPre=/bin/sh -c '${only_old}'\n`)
  await put('/etc/xos/node.json', '{"node":"n1","address":"127.0.0.1","roles":["registry"]}')
  await machine.must('systemctl start xosd; until xnode status; do sleep 1; done', boot_ms)
  await machine.must('xos-update /dev/vdb', 600_000)
  await comesBack(/this version is not good: 'xosd' [a-z ]+; going back to the one before/)
  t.is(await running(), '1.0')
  await machine.must('until xnode status; do sleep 1; done', boot_ms)
})

test.serial('what GRUB starts a version by is what was signed, or the version before is started', async (t) => {
  t.timeout(60 * 60_000)
  const { machine, running, comesBack } = await startDisk(t, 'bios')
  // Somebody who is root of the running version changes the next one: a shell for its first process, another kernel, another initrd.
  const changes = { 'boot.cfg': 'sed -i "s/quiet/quiet init=\\/bin\\/sh/" $file; grep init= $file', linux: 'change', initrd: 'change' }
  for (const [name, change] of Object.entries(changes)) {
    await machine.must('xos-update /dev/vdb; mkdir -p /run/esp; mount LABEL=XOS-ESP /run/esp', 600_000)
    await machine.must(`change() { echo changed | dd of=$file bs=1 seek=1000000 conv=notrunc status=none; }; file=/run/esp/xos/2.0/${name}; ${change}; umount /run/esp`)
    await comesBack(/XtreemOS 2\.0 cannot be started; going back to 1\.0/)
    t.is(await running(), '1.0', name)
    t.is((await machine.run('grep init= /proc/cmdline')).status, 1)
  }
})

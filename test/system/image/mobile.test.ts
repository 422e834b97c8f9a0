//   n1 (image pc) ── switch in this process ── pocket (image mobile): joins, logs a member in, sends jobs to n1, takes none
// Needs: the tools root, QEMU (TCG). Two boots.
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import test from 'ava'
import { makeOverlay } from '../../../src/setup/image/qemu.mjs'
import { toolsRoot } from '../../../src/setup/image/tools.mjs'
import { runFolder } from '../support/machine.ts'
import { openNetwork } from '../support/network.ts'
import { smallImage, testImages } from './images.ts'
import { boot_ms, type ImageMachine, scratch, startImage } from './machine.ts'
import { giveAddress, mac, member } from './vo.ts'

test.serial('a light node logs a member in, sends jobs out, and takes none', async (t) => {
  t.timeout(40 * 60_000)
  const { disk: image } = await testImages()
  const light = await smallImage('mobile')
  t.true(light.root_bytes <= 90e6, `its root has ${light.root_bytes} bytes`)
  const tools = toolsRoot().path
  const folder = scratch(t)
  const wires = openNetwork(runFolder())
  t.teardown(() => wires.close())
  const start = async (name: string, from: string, last: string) => {
    const disk = join(folder, `${name}.qcow2`)
    await makeOverlay(tools, from, disk)
    return await startImage(t, { firmware: 'bios', disk, network: [{ socket: await wires.plug(name), mac: mac(last) }] })
  }
  const [first, pocket] = await Promise.all(([['n1', image, '01'], ['pocket', light.path, '02']] as const).map(async ([name, from, last]) => {
    const machine = await start(name, from, last)
    await machine.logIn({ first: true })
    await giveAddress(machine, mac(last), `10.9.0.${Number(last)}`)
    return machine
  })) as [ImageMachine, ImageMachine]
  await first.must(`echo ${member} | xnode found demo --admin alice --password-stdin --node n1 --address 10.9.0.1 --timeout 300`, boot_ms)
  const token = (await first.must('xvo node invite demo pocket 2> /dev/null')).trim() // beside the token it says what to do with it

  t.regex((await pocket.run('xnode found other --address 10.9.0.2')).output, /a light node cannot found a VO/)
  const state = async (machine: ImageMachine): Promise<string> => (await machine.run('xnode status; systemctl --failed --no-legend --plain; uptime; journalctl --no-pager -q -n 60')).output
  const told = await pocket.run(`xnode join ${token} --address 10.9.0.2 --timeout 300`, boot_ms)
  if (told.status !== 0) throw new Error(`${told.output}\non pocket:\n${await state(pocket)}\non n1:\n${await state(first)}`)
  t.log(told.output)
  const ready = await first.run('for try in {1..150}; do xnode list --quiet | grep -qx pocket && break; sleep 2; done; xnode list', 2 * boot_ms)
  t.regex(ready.output, /^pocket .*ready/m, await state(pocket))
  t.regex(await pocket.must('xnode status'), /roles mount,/)
  t.is((await pocket.run('ls /usr/lib/xos/bin/xos-osd /usr/lib/xos/bin/xos-mrc')).status, 2, 'it has no programs that keep files')

  pocket.console.send('exit')
  await pocket.logIn({ user: 'alice@demo', password: member })
  // A login waits a moment for the other nodes to have its session; who is slower has it a little later (src/session/spread.ts).
  const name = `note-${randomBytes(4).toString('hex')}`
  t.is((await pocket.must(`echo from the pocket > ${name}; for try in {1..150}; do xrun --node n1 true 2> /dev/null && break; sleep 1; done; xrun --node n1 sh -c 'cat ${name}; cat /etc/hostname; xnode status | head -1'`, 300_000)).trim().split('\n').at(-1), 'node n1 of VO demo is ready')
  first.console.send('exit')
  await first.logIn({ user: 'alice@demo', password: member })
  t.is((await first.must(`cat ${name}`)).trim(), 'from the pocket')
  const refused = await first.run('xrun --node pocket true')
  t.is(refused.status, 125, refused.output)

  pocket.console.send('exit')
  await pocket.logIn()
  t.regex(await pocket.must('xnode leave', 300_000), /this machine was node pocket of VO demo, and is no more/)
  t.is(await pocket.must('systemctl is-active xosd xos-relayd xos-mount || true'), 'inactive\ninactive\ninactive\n')
  t.is((await pocket.run('findmnt -rn -t fuse.xtreemfs')).output, '', 'no volume is mounted')
  t.is((await pocket.run('getent passwd alice@demo')).status, 2)
  t.is((await first.run('xnode leave')).status, 1)
})

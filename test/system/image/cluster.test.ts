//   head (image pc, disk) ── switch in this process ── node (no disk): PXE by UEFI's own client, iPXE by TFTP, script and image by HTTP
//                                                   └─ node (no disk): iPXE in the network card's ROM, BIOS
// The nodes join by themselves, as c1 and c2. Needs: the tools root, QEMU (TCG). Three boots, at most two machines at once.
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import test from 'ava'
import { makeOverlay, makeVariables } from '../../../src/setup/image/qemu.mjs'
import { toolsRoot } from '../../../src/setup/image/tools.mjs'
import { runFolder } from '../support/machine.ts'
import { openNetwork } from '../support/network.ts'
import { smallImage, testImages } from './images.ts'
import { boot_ms, scratch, startImage } from './machine.ts'
import { giveAddress, joined, mac, member } from './vo.ts'

test.serial('a head boots machines without disks, and they join its VO by themselves', async (t) => {
  t.timeout(60 * 60_000)
  const { disk: image } = await testImages()
  const nodes = await smallImage('cluster')
  t.true(nodes.root_bytes <= 130e6, `the nodes' root has ${nodes.root_bytes} bytes`)
  const tools = toolsRoot().path
  const folder = scratch(t)
  const wires = openNetwork(runFolder())
  t.teardown(() => wires.close())
  const plug = async (name: string, last: string): Promise<{ socket: string, mac: string }[]> => [{ socket: await wires.plug(name), mac: mac(last) }]
  const [disk, variables] = [join(folder, 'disk.qcow2'), join(folder, 'variables.fd')]
  await makeOverlay(tools, image, disk)
  makeVariables(tools, variables)

  const head = await startImage(t, { firmware: 'bios', disk, drives: [nodes.path], network: await plug('head', '01') })
  await head.logIn({ first: true })
  await giveAddress(head, mac('01'), '10.9.0.1')
  await head.must(`echo ${member} | xnode found demo --admin alice --password-stdin --node head --address 10.9.0.1 --timeout 300`, boot_ms)
  t.regex((await head.run('xnetboot add 52:54:00:78:6f:02 c1')).output, /this machine is no head of a cluster yet/)
  await head.must('mkdir -p /srv/xos/netboot && tar -xf /dev/vdb -C /srv/xos/netboot')
  t.regex(await head.must('xnetboot up --interface $(ip -4 -o addr | sed -n "s/^[0-9]*: *\\([^ ]*\\) .*10.9.0.1.*/\\1/p") --address 10.9.0.1 --any 1'), /0 listed, 1 others/)

  const first = await startImage(t, { firmware: 'uefi', variables, network: await plug('first', '02'), memory_mib: 1024 })
  await joined(head, 'c1')
  await first.console.expect(/this machine is node c1 of VO demo/, boot_ms)

  // One more than the head was told to take in: it is not booted before somebody lists it.
  await first.kill()
  const second = await startImage(t, { firmware: 'bios', network: await plug('second', '03'), memory_mib: 1024 })
  await head.must('until journalctl -u xos-netboot-http --no-pager | grep -q "is not listed, and 1 others were taken in already"; do sleep 2; done', boot_ms)
  await head.must('xnetboot add 52:54:00:78:6f:03 lab7')
  await joined(head, 'lab7')
  await second.console.expect(/this machine is node lab7 of VO demo/, boot_ms)

  head.console.send('exit')
  await head.logIn({ user: 'alice@demo', password: member })
  const name = `note-${randomBytes(4).toString('hex')}`
  t.is((await head.must(`echo from the head > ${name}; xrun --node lab7 sh -c 'cat ${name}; grep -o "IMAGE_ID=.*" /etc/os-release; findmnt -no FSTYPE /'`, 300_000)).trim(), 'from the head\nIMAGE_ID=xtreemos-cluster\nsquashfs')
})

//  kernel of the disk image ── xos.found=demo xos.admin=alice ──▶ a machine that nobody logged in to is the first node of a VO, and alice logs in on its console
//  kernel of the disk image ── xos.join=TOKEN ──▶ another one is a node of a VO that is there
// Needs: the tools root, QEMU (TCG). One boot with nobody else on its network, then two.
import { join } from 'node:path'
import test from 'ava'
import { makeOverlay } from '../../../src/setup/image/qemu.mjs'
import { toolsRoot } from '../../../src/setup/image/tools.mjs'
import { runFolder } from '../support/machine.ts'
import { openNetwork } from '../support/network.ts'
import { testImages } from './images.ts'
import { boot_ms, scratch, startImage } from './machine.ts'
import { giveAddress, joined, mac, member } from './vo.ts'

test.serial('a machine founds a VO by its kernel command line, and its first member logs in', async (t) => {
  t.timeout(40 * 60_000)
  const { disk: image, direct } = await testImages()
  const disk = join(scratch(t), 'disk.qcow2')
  await makeOverlay(toolsRoot().path, image, disk)
  const machine = await startImage(t, { firmware: 'bios', disk, network: 'alone', memory_mib: 1024, direct: { ...direct, line: `${direct.line} xos.found=demo xos.admin=alice` } })
  const [, password = ''] = await machine.console.expect(/Password of alice@demo, shown this once: (\S+)/, boot_ms)
  machine.console.send('')
  await machine.logIn({ user: 'alice@demo', password })
  t.is((await machine.must('pwd; id -un')).trim(), '/home/alice\nalice@demo')
  t.regex(await machine.must('xnode status'), /^node xtreemos of VO demo is ready/)
  // Our kernel modules are in the image, for its kernel, and signed.
  const modules = await machine.must('cut -d" " -f1 /proc/modules')
  for (const name of ['xos_cred', 'xos_exec', 'xos_proxy']) {
    t.true(modules.split('\n').includes(name), `${name} is loaded`)
    t.regex(await machine.must(`/sbin/modinfo -F signer ${name}`), /\S/)
  }
  t.regex(await machine.must('cat /proc/keys'), /xos_cred/)
  t.is((await machine.must('echo kept > file && cat file && stat -fc %T . && seq 3 | sort -r | head -1')).trim(), 'kept\nfuse\n3')
})

test.serial('a machine joins a VO by its kernel command line, and takes its jobs', async (t) => {
  t.timeout(40 * 60_000)
  const { disk: image, direct } = await testImages()
  const wires = openNetwork(runFolder())
  t.teardown(() => wires.close())
  const start = async (name: string, last: string, words?: string) => {
    const disk = join(scratch(t), `${name}.qcow2`)
    await makeOverlay(toolsRoot().path, image, disk)
    return await startImage(t, {
      firmware: 'bios', disk, network: [{ socket: await wires.plug(name), mac: mac(last) }], ...(words === undefined ? {} : { direct: { ...direct, line: `${direct.line} ${words}` } }),
    })
  }
  const first = await start('n1', '01')
  await first.logIn({ first: true })
  await giveAddress(first, mac('01'), '10.9.0.1', 'DHCPServer=yes\\n[DHCPServer]\\nPersistLeases=no')
  await first.must(`echo ${member} | xnode found demo --admin alice --password-stdin --node n1 --address 10.9.0.1 --timeout 300`, boot_ms)
  const token = (await first.must('xvo node invite demo n2 2> /dev/null')).trim()

  const second = await start('n2', '02', `xos.join=${token}`)
  await joined(first, 'n2')
  await second.logIn({ user: 'alice@demo', password: member })
  first.console.send('exit')
  await first.logIn({ user: 'alice@demo', password: member })
  t.is((await first.must('for try in {1..150}; do xrun --node n2 true 2> /dev/null && break; sleep 1; done; xrun --node n2 xnode status > there; head -1 there', 300_000)).trim(), 'node n2 of VO demo is ready')
  // The token is on every user's /proc/cmdline; it was for one machine, once.
  second.console.send('exit')
  await second.logIn({ first: true })
  t.regex((await second.run(`xnode leave --force; xnode join ${token}`, 300_000)).output, /token/)
})

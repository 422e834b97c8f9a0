//  kernel of the disk image ── xos.found=demo xos.admin=alice ──▶ a machine that nobody logged in to is the first node of a VO, and alice logs in on its console
// Needs: the tools root, QEMU (TCG). One boot, a network card with nobody else on its network.
import { join } from 'node:path'
import test from 'ava'
import { makeOverlay } from '../../../src/setup/image/qemu.mjs'
import { toolsRoot } from '../../../src/setup/image/tools.mjs'
import { testImages } from './images.ts'
import { boot_ms, scratch, startImage } from './machine.ts'

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

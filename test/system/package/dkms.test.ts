// xtreemos-kmod-dkms by Debian's own DKMS: compiled at install for the kernel whose headers are there, again at an upgrade, gone with the package.
// Needs the Debian mirror (for dkms itself) and the tools root.
import test from 'ava'
import { join } from 'node:path'
import { runInRoot } from '../../../src/setup/build/chroot.mjs'
import { imageRoot } from '../../../src/setup/image/root.mjs'
import { ensureToolsRoot } from '../../../src/setup/image/tools.mjs'
import { build, clone } from '../../../src/setup/lib/paths.mjs'
import { makePackages } from '../../../src/setup/package/package.mjs'

const log = join(build, 'package-test.log')
const out = join(build, 'package-test')
const modules = ['xos_cred', 'xos_exec', 'xos_proxy']

test.serial('DKMS compiles the modules at install and upgrade, and removes them', async (t) => {
  t.timeout(900_000)
  const tools = await ensureToolsRoot({ log })
  for (const version of ['0.0.1', '0.0.2']) await makePackages(imageRoot().path, { log, version, out: join(out, version) })
  const printed = await runInRoot(tools, [join(clone, 'test/system/package/dkms'), join(out, '0.0.1'), join(out, '0.0.2')], { log, timeout_ms: 800_000 })
  const section = Object.fromEntries(printed.split('\n=== ').slice(1).map((text) => [text.slice(0, text.indexOf('\n')), text.slice(text.indexOf('\n') + 1).trim()]))
  const fitting = modules.map((name) => `${name} fits updates/dkms/${name}.ko.xz`).join('\n')
  t.regex(section['install']!, /^xtreemos\/0\.0\.1, \S+, x86_64: installed$/)
  t.is(section['modules'], fitting)
  t.is(section['symbols'], '')
  t.regex(section['upgrade']!, /^xtreemos\/0\.0\.2, \S+, x86_64: installed\n/)
  t.true(section['upgrade']!.endsWith(fitting))
  t.is(section['purge'], '')
})

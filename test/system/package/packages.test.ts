// Our Debian packages on a stock Debian 13, in a chroot whose changes are in memory: install, upgrade, remove, purge. Needs the Debian mirror
// once, and what `npm run build` makes. What they do when systemd runs is tested in a guest (units.test.ts).
import test from 'ava'
import { join } from 'node:path'
import { imageRoot } from '../../../src/setup/image/root.mjs'
import { makePackages } from '../../../src/setup/package/package.mjs'
import { runInRoot } from '../../../src/setup/build/chroot.mjs'
import { build, clone } from '../../../src/setup/lib/paths.mjs'
import { stockRoot } from '../support/stock.ts'

const log = join(build, 'package-test.log')
const out = join(build, 'package-test')
const nodes = ['xtreemos-common', 'xtreemos-fs', 'xtreemos-node', 'xtreemos-pam', 'xtreemos-runtime']

/** dpkg's lines of packages that are there; it also knows names that others refer to. */
const installed = (text: string): string[] => text.split('\n').map((line) => line.trim()).filter((line) => /^xtreemos-\S+ (?:install ok installed|\S+ ii)$/.test(line))

test.serial('the packages install, upgrade, and are gone without a trace', async (t) => {
  t.timeout(600_000)
  const root = imageRoot().path
  for (const version of ['0.0.1', '0.0.2']) await makePackages(root, { log, version, out: join(out, version) })
  const printed = await runInRoot(await stockRoot(log), [join(clone, 'test/system/package/cycle'), join(out, '0.0.1'), join(out, '0.0.2')], { log, timeout_ms: 400_000 })
  const section = Object.fromEntries(printed.split('\n=== ').slice(1).map((text) => [text.slice(0, text.indexOf('\n')), text.slice(text.indexOf('\n') + 1).trim()]))
  t.deepEqual(installed(section['install']!), nodes.map((name) => `${name} install ok installed`))
  t.is(section['idle'], 'enabled\nenabled\noff', 'nothing is there but two enabled units that wait for a configuration, and no program is marked')
  t.is(section['libraries'], '', 'every library is in a package that ours depend on')
  t.is(section['units'], '')
  t.regex(section['names']!, /^passwd: +files xos.*\ngroup: +files xos.*\nroot:x:0:0:.*\nnone$/)
  // Which arguments the module gets is the login's own matter (pam/).
  t.deepEqual(section['pam']!.replace(/(pam_xos\.so).*/g, '$1').split('\n'), [
    'auth [success=2 ignore=ignore default=die] pam_xos.so', 'account [success=2 ignore=ignore default=die] pam_xos.so',
    'session required pam_xos.so', 'password [success=1 ignore=ignore default=die] pam_xos.so',
    '# end of pam-auth-update config', '0'])
  t.is(section['passwd'], 'passwd: password updated successfully\n$y$', 'a local user needs nobody but pam_unix, also where no module checks new passwords')
  t.regex(section['commands']!, /^xnode \(XtreemOS\) .*\nxnode: cannot reach '\/run\/xos\/xosd.sock'/)
  t.regex(section['marks']!, /^\d{3} programs changed\non: \d{3} programs marked, 0 not\nls \(GNU coreutils\).*\n\/usr\/bin\/mawk cap_net_raw=ep$/)
  t.regex(section['trigger']!, /^on: \d{3} programs marked, 0 not$/, 'what the package manager replaced is marked again')
  t.deepEqual(installed(section['upgrade']!), nodes.map((name) => `${name} 0.0.2 ii`))
  t.regex(section['upgrade']!, /# kept\n\{ "node": "n1" \}\non: \d{3} programs marked, 0 not$/)
  t.regex(section['light']!, /xtreemos-md ii/)
  t.notRegex(section['light']!, /xtreemos-node ii/)
  t.regex(section['remove']!, /coreutils as shipped$/)
  t.is(section['purge'], 'as before')
})

test.serial('the same inputs give the same bytes', async (t) => {
  t.timeout(300_000)
  const { createHash } = await import('node:crypto')
  const { readFileSync, rmSync } = await import('node:fs')
  const make = async (): Promise<string[]> => {
    rmSync(join(out, 'again'), { recursive: true, force: true })
    const { files } = await makePackages(imageRoot().path, { log, out: join(out, 'again') })
    return files.map((path) => createHash('sha256').update(readFileSync(path)).digest('hex'))
  }
  t.deepEqual(await make(), await make())
})

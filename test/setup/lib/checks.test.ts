import test from 'ava'
import { checkMachine } from '../../../src/setup/lib/checks.mjs'

const files: Record<string, string> = {
  '/etc/os-release': 'PRETTY_NAME="Debian GNU/Linux 12"\nID=debian\n',
  '/proc/self/status': 'CapEff:\t000001ffffffffff\n',
  '/proc/filesystems': 'nodev\toverlay\nnodev\tbinfmt_misc\nnodev\tfuse\n\text4\n',
  '/proc/sys/user/max_user_namespaces': '96000\n',
}
const good = {
  uid: () => 0, arch: () => 'x64', kernel: () => '6.12.1-amd64', read: (path: string) => files[path] ?? '', isDevice: () => true,
  loadModule: () => {}, freeBytes: () => 100 * 1024 ** 3,
}
const reading = (path: string, text: string) => (asked: string) => (asked === path ? text : files[asked] ?? '')

const refused = test.macro((t, on: object, code: string, says: RegExp) => {
  const error = t.throws(() => checkMachine({ imageReady: false }, { ...good, ...on }))
  t.is((error as { code?: string } | undefined)?.code, code)
  t.regex(error?.message ?? '', says)
})

test('a fitting machine passes', (t) => { t.notThrows(() => checkMachine({ imageReady: false }, good)) })
test('an ordinary user', refused, { uid: () => 1000 }, 'XOS_SETUP_ROOT', /sudo npm start/)
test('another architecture', refused, { arch: () => 'arm64' }, 'XOS_SETUP_MACHINE', /x86-64/)
test('another distribution', refused, { read: reading('/etc/os-release', 'ID=fedora\nPRETTY_NAME="Fedora 42"\n') }, 'XOS_SETUP_DEBIAN', /Fedora 42/)
test('a kernel that is too old', refused, { kernel: () => '6.6.13-amd64' }, 'XOS_SETUP_KERNEL', /6\.6\.13.*6\.7/)
test('an old major version', refused, { kernel: () => '5.19.0' }, 'XOS_SETUP_KERNEL', /5\.19/)
test('a root without rights', refused, { read: reading('/proc/self/status', 'CapEff:\t00000000a80425fb\n') }, 'XOS_SETUP_ROOT', /CAP_SYS_ADMIN/)
test('no /dev/fuse', refused, { isDevice: () => false }, 'XOS_SETUP_FUSE', /modprobe fuse/)
test('no overlay', refused, { read: reading('/proc/filesystems', 'nodev\tbinfmt_misc\nnodev\tfuse\n') }, 'XOS_SETUP_KERNEL', /overlay/)
test('user namespaces switched off', refused, { read: reading('/proc/sys/user/max_user_namespaces', '0\n') }, 'XOS_SETUP_KERNEL', /user namespaces/)
test('a full disk', refused, { freeBytes: () => 1024 ** 3 }, 'XOS_SETUP_DISK', /needs .* GB/)
test('a device that its module brings is enough', (t) => {
  let loaded = false
  t.notThrows(() => checkMachine({ imageReady: true }, { ...good, isDevice: () => loaded, loadModule: () => { loaded = true } }))
})

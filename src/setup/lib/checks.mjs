// What the machine must have before anything is made; each failure says what to do.
import { existsSync, readFileSync, statSync, statfsSync } from 'node:fs'
import { release } from 'node:os'
import { dirname } from 'node:path'
import { spawnSync } from 'node:child_process'
import { SetupError } from './errors.mjs'
import { clone, imageStore } from './paths.mjs'

const GIB = 1024 ** 3
const CAP_SYS_ADMIN = 21n
/** binfmt_misc can be mounted in a user namespace since this kernel; a session's start-by-name stands on it. */
const KERNEL = [6, 7]

/** Where the checks look; tests give other folders and numbers. */
export const machine = {
  uid: () => process.getuid?.(),
  arch: () => process.arch,
  kernel: () => release(),
  read: (path) => { try { return readFileSync(path, 'utf8') } catch { return '' } },
  isDevice: (path) => Boolean(statSync(path, { throwIfNoEntry: false })?.isCharacterDevice()),
  loadModule: (name) => void spawnSync('modprobe', ['-q', name], { stdio: 'ignore' }),
  freeBytes: (path) => { const { bavail, bsize } = statfsSync(path); return bavail * bsize },
}

/** Throws SetupError with the first thing that is missing. @param {{imageReady: boolean}} state @param {typeof machine} [on] */
export function checkMachine(state, on = machine) {
  const { uid, arch } = { uid: on.uid(), arch: on.arch() }
  if (uid !== 0) throw new SetupError('XOS_SETUP_ROOT', 'cannot set up a personal grid as an ordinary user: it makes namespaces and mounts; start it as root (sudo npm start)')
  if (arch !== 'x64') throw new SetupError('XOS_SETUP_MACHINE', `cannot set up a personal grid on '${arch}': only x86-64 is supported so far`)
  const system = on.read('/etc/os-release')
  if (!/^ID(_LIKE)?=.*debian/m.test(system)) {
    throw new SetupError('XOS_SETUP_DEBIAN', `cannot set up on '${/^PRETTY_NAME="?([^"\n]*)/m.exec(system)?.[1] ?? 'this system'}': Debian or a relative of it is needed, for apt and mmdebstrap`)
  }
  const kernel = on.kernel()
  const [major = 0, minor = 0] = kernel.split('.').map(Number)
  if (major < KERNEL[0] || (major === KERNEL[0] && minor < KERNEL[1])) {
    throw new SetupError('XOS_SETUP_KERNEL', `cannot set up on kernel ${kernel}: at least ${KERNEL.join('.')} is needed (binfmt_misc in user namespaces); ` +
      'install a newer one, for instance linux-image-amd64 from backports, and restart')
  }
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)/m.exec(on.read('/proc/self/status'))?.[1] ?? '0'}`)
  if (!((effective >> CAP_SYS_ADMIN) & 1n)) {
    throw new SetupError('XOS_SETUP_ROOT', 'cannot set up a personal grid: this root lacks CAP_SYS_ADMIN; in a container, start that one privileged')
  }
  checkKernelParts(on)
  checkDisk(state, on)
}

function checkKernelParts(on) {
  if (!on.isDevice('/dev/fuse')) on.loadModule('fuse')
  if (!on.isDevice('/dev/fuse')) {
    throw new SetupError('XOS_SETUP_FUSE', "cannot set up without '/dev/fuse': volumes are mounted through it; load the module (modprobe fuse), or pass the device on to this container")
  }
  for (const name of ['overlay', 'binfmt_misc', 'fuse']) {
    const known = () => on.read('/proc/filesystems').split('\n').some((line) => line.trim().split('\t').pop() === name)
    if (!known()) on.loadModule(name)
    if (!known()) throw new SetupError('XOS_SETUP_KERNEL', `cannot set up: this kernel has no file system '${name}'; load its module (modprobe ${name}) or use Debian's kernel`)
  }
  if (on.read('/proc/sys/user/max_user_namespaces').trim() === '0') {
    throw new SetupError('XOS_SETUP_KERNEL', 'cannot set up: user namespaces are switched off; allow them (sysctl user.max_user_namespaces=10000)')
  }
}

function checkDisk({ imageReady }, on) {
  const needs = [[imageStore, imageReady ? 0.5 : 2.5], [clone, imageReady ? 0.5 : 1.5]]
  for (const [path, gib] of needs) {
    const free = on.freeBytes(nearest(path))
    if (free < gib * GIB) {
      throw new SetupError('XOS_SETUP_DISK', `cannot set up: '${path}' needs ${gib} GB of free disk and has ${(free / GIB).toFixed(1)}; free some and start again`)
    }
  }
}

function nearest(path) {
  return existsSync(path) ? path : nearest(dirname(path))
}

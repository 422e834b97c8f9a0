// A pen: the private namespaces that the anchors run in. Two nodes, n1 and n2 (net namespaces joined by a veth pair), one pid and one
// mount namespace; the root is an overlay in memory over the anchor root, so that nothing an anchor writes outlives the pen.

import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { XosError } from '../../../src/core/errors.ts'
import { type RunOptions, type RunResult, dieWithParent, run } from '../run.ts'
import type { AnchorRoot } from './root.ts'

export const penAddress = { n1: '10.79.0.1', n2: '10.79.0.2' } as const
export type PenNode = keyof typeof penAddress

// Pid 1 of the pen. bash reaps what is orphaned to it; when it dies, the kernel kills all others and drops mounts and interfaces.
const init = `
set -e
root=$1 state=$2
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay -o "lowerdir=$root,upperdir=/mnt/upper,workdir=/mnt/work" overlay /mnt/root
cd /mnt/root
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom tty fuse; do touch dev/$device; mount --bind /dev/$device dev/$device; done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs tmpfs dev/shm
mount -t tmpfs tmpfs tmp; chmod 1777 tmp
mount -t tmpfs -o mode=755 tmpfs run
mkdir -p state old
mount --bind "$state" state
pivot_root . old
umount -l /old
cd /
hostname n1
printf '127.0.0.1 localhost\\n${penAddress.n1} n1\\n${penAddress.n2} n2\\n' > /etc/hosts
ip link set lo up
ip netns add n2
ip link add eth0 type veth peer name eth0 netns n2
ip address add ${penAddress.n1}/24 dev eth0
ip link set eth0 up
ip netns exec n2 ip link set lo up
ip netns exec n2 ip address add ${penAddress.n2}/24 dev eth0
ip netns exec n2 ip link set eth0 up
echo ready
while :; do sleep 3600; done
`

export class Pen {
  readonly #child: ChildProcess
  /** Pid 1 of the pen, as the host sees it. */
  readonly pid: number

  private constructor(child: ChildProcess, pid: number) {
    this.#child = child
    this.pid = pid
  }

  /** Opens a pen; it ends with `close`, or with the bench. Throws `XOS_BENCH_PEN`. */
  static async open(root: AnchorRoot): Promise<Pen> {
    const child = spawn(dieWithParent[0], [
      ...dieWithParent.slice(1), 'unshare', '--mount', '--net', '--pid', '--uts', '--ipc', '--fork', '--kill-child',
      'bash', '-c', init, 'pen', root.path, root.state,
    ], { stdio: ['ignore', 'pipe', 'pipe'] })
    try {
      await ready(child)
      const children = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').trim()
      return new Pen(child, Number(children))
    } catch (error) {
      child.kill('SIGKILL')
      throw new XosError('XOS_BENCH_PEN', `cannot open namespaces for the anchors over '${root.path}': ${error instanceof Error ? error.message : String(error)}`, {}, { cause: error })
    }
  }

  /** The command line that runs `argv` on a node of the pen, for callers that spawn themselves. */
  command(argv: readonly string[], node: PenNode = 'n1'): readonly string[] {
    const there = node === 'n1' ? argv : ['ip', 'netns', 'exec', node, ...argv]
    return ['nsenter', '--target', String(this.pid), '--mount', '--net', '--pid', '--uts', '--ipc', '--root', '--wd', '--', ...there]
  }

  run(argv: readonly string[], options: RunOptions & { readonly node?: PenNode } = {}): Promise<RunResult> {
    const env = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', HOME: '/root', ...options.env }
    return run(this.command(argv, options.node), { ...options, env })
  }

  sh(script: string, options: RunOptions & { readonly node?: PenNode } = {}): Promise<RunResult> {
    return this.run(['bash', '-ec', script], options)
  }

  /** Writes a file inside the pen. */
  async write(path: string, content: string | Uint8Array, mode = '644'): Promise<void> {
    await this.sh(`mkdir -p "$(dirname '${path}')"; cat > '${path}'; chmod ${mode} '${path}'`, { input: content })
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const ended = new Promise<void>((resolve) => { this.#child.once('exit', () => resolve()) })
    // The parent (unshare) dies; --kill-child takes pid 1 along, and pid 1 the rest.
    this.#child.kill('SIGKILL')
    await ended
    await gone(this.pid)
  }
}

/** Waits for the init's word, at most 30 s. */
function ready(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let errors = ''
    const timer = setTimeout(() => reject(new Error(`not ready after 30 s: ${errors}`)), 30_000)
    child.stderr?.on('data', (part: Buffer) => { errors = (errors + part.toString()).slice(-4_000) })
    child.stdout?.on('data', (part: Buffer) => {
      if (!part.toString().includes('ready')) return
      clearTimeout(timer)
      resolve()
    })
    child.once('error', (error) => { clearTimeout(timer); reject(error) })
    child.once('exit', () => { clearTimeout(timer); reject(new Error(errors.trim() || 'its init ended')) })
  })
}

/** Waits until a process has left /proc, at most 10 s: only then are its namespaces released. */
async function gone(pid: number): Promise<void> {
  for (let attempt = 0; attempt < 500; attempt++) {
    try {
      process.kill(pid, 0)
    } catch {
      return
    }
    await new Promise((resolve) => { setTimeout(resolve, 20) })
  }
}

// A guest for a test: Debian with systemd, kernel 6.12 and our own files, booted, with a root shell and its console.
//
//   test('loads', async (t) => {
//     const g = await bootGuest(t, { name: 'n1' })
//     t.is((await g.run('uname -s')).stdout, 'Linux\n')
//   })
//
// It is ended after the test, also when that fails; a test that is killed takes it along.
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { join } from 'node:path'
import { kernelModule } from '../../../src/setup/build/kmod.mjs'
import type { Agent, Finished, RunOptions, Running } from './agent.ts'
import type { Console } from './console.ts'
import { runFolder, startMachine, type Machine } from './machine.ts'
import { openNetwork, type Network } from './network.ts'
import { migrated } from './qmp.ts'
import { ensureSnapshot, type Shape } from './snapshot.ts'

export interface GuestOptions {
  /** Its host name. Default 'n1'. */
  readonly name?: string
  /** MiB, default 768. Each memory, number of CPUs and command line has a snapshot of its own, made when first asked for. */
  readonly memory?: number
  /** Default 2. */
  readonly cpus?: number
  /** Added to the kernel's command line, for instance 'slab_debug=FZ'. */
  readonly append?: string
  /** Debian and the kernel alone, without our own files: for tests of the kernel. Its snapshot does not change with every build. */
  readonly plain?: boolean
  /** Its clock counts instructions (QEMU's -icount): who of it got how much does not depend on what else this machine does. Several times slower. */
  readonly counted?: boolean
  /** Modules of kmod/ to load, in this order. */
  readonly modules?: readonly string[]
  /** A network shared by guests (guestNetwork); without one the guest is alone. */
  readonly network?: GuestNetwork
}

export interface Guest {
  readonly name: string
  /** Its address in the network; null without one. */
  readonly address: string | null
  /** A line for bash, as root, with its streams apart. Does not fail by itself when the status is not 0. */
  run(line: string, options?: RunOptions): Promise<Finished>
  /** The same, and it fails unless the status is 0. Returns standard output. */
  must(line: string, options?: RunOptions): Promise<string>
  /** The same, without waiting for its end; its standard input stays open until end(). */
  start(line: string, options?: RunOptions): Running
  readonly console: Console
  /** Writes a file of this machine (a path) or bytes to a path in the guest. Mode as chmod(1) has it, default 0644. */
  put(source: string | Buffer, path: string, mode?: string): Promise<void>
  get(path: string): Promise<Buffer>
  /** Asks every 200 ms until the line ends with 0; fails after a minute (or `timeout_ms`), with what it said last. */
  until(line: string, timeout_ms?: number): Promise<string>
  /** Loads a module of kmod/ (built when needed). */
  load(module: string): Promise<void>
  /** What the kernel logged since boot that must not be: splats, leaks, lock-ups. Empty when fine. */
  splats(): Promise<string>
  /** QEMU's control, for what the rest has not: 'system_reset', 'stop' … */
  readonly machine: Machine
  /** Power off, at once. */
  kill(): Promise<void>
}

export interface GuestNetwork {
  readonly folder: string
  readonly wires: Network
  /** The host names and addresses of its guests, in the order in which they were asked for. */
  readonly members: Map<string, string>
}

/**
 * Options for tests of kernel modules: red zones, poison and checks at each free in the slabs that modules share with everybody. All slabs, or
 * with the callers recorded, makes an emulated machine so slow that it misses its own time-outs. Debian ships no kernel with more checks.
 */
export const checkedKernel = { append: 'slab_debug=FZP,kmalloc-*,key_jar,cred_jar', plain: true } as const

/** What of a test a guest needs: somebody who ends it. */
export interface Context {
  teardown(end: () => Promise<void> | void): void
  log(...words: string[]): void
}

/** A network for guests of one test; they reach each other by name. It takes no part in any network of this machine. */
export function guestNetwork (t: Context): GuestNetwork {
  const folder = runFolder()
  const wires = openNetwork(folder)
  t.teardown(() => wires.close())
  return { folder, wires, members: new Map() }
}

export async function bootGuest (t: Context, options: GuestOptions = {}): Promise<Guest> {
  const name = options.name ?? 'n1'
  const shape: Shape = { memory_mib: options.memory ?? 768, cpus: options.cpus ?? 2, append: options.append, plain: options.plain, counted: options.counted }
  const { layers, disk, state } = await ensureSnapshot(shape)
  const begun = performance.now()
  const machine = await startMachine({ layers, disk, state, ...shape, network: await options.network?.wires.plug(name) })
  t.teardown(async () => {
    // Ended by nobody's wish: a panic, whose words are on the console, or QEMU's own end.
    if (machine.gone() !== null) t.log(`guest '${name}' ended by itself: ${machine.gone()}\n${machine.console.text().slice(-6000)}`)
    await machine.kill()
  })
  await machine.qmp.execute('migrate-set-capabilities', { capabilities: [{ capability: 'mapped-ram', state: true }] })
  await machine.qmp.execute('migrate-incoming', { uri: `file:${state}` })
  await migrated(machine.qmp, 60_000)
  await machine.qmp.execute('cont')
  await machine.agent.hello(60_000)
  const guest = guestOf(name, machine, options.network)
  await guest.must(identity(name, options.network))
  t.log(`guest '${name}' is there after ${Math.round(performance.now() - begun)} ms`)
  for (const module of options.modules ?? []) await guest.load(module)
  return guest
}

/** Several guests on one network (of their own, unless one is given). */
export async function bootGuests (t: Context, names: readonly string[], options: Omit<GuestOptions, 'name'> = {}): Promise<Guest[]> {
  const network = options.network ?? guestNetwork(t)
  for (const name of names) takeAddress(name, network) // the first named is 10.78.0.1, whichever is there first
  await ensureSnapshot({ memory_mib: options.memory ?? 768, cpus: options.cpus ?? 2, append: options.append, plain: options.plain, counted: options.counted })
  const begun = performance.now()
  const guests = await Promise.all(names.map((name) => bootGuest(t, { ...options, name, network })))
  const hosts = [...network.members].map(([name, address]) => `${address} ${name}`).join('\n')
  await Promise.all(guests.map((guest) => guest.must(`printf '%s\\n' '${hosts}' >> /etc/hosts`)))
  t.log(`${names.length} guests know each other after ${Math.round(performance.now() - begun)} ms`)
  return guests
}

/** The address of a guest in its network, from the number of those before it. */
function takeAddress (name: string, { members }: GuestNetwork): string {
  const address = members.get(name) ?? `10.78.0.${members.size + 1}`
  members.set(name, address)
  return address
}

/** Who this guest is: of all that a snapshot shares, the names and addresses must differ. */
function identity (name: string, network: GuestNetwork | undefined): string {
  // By what the shell has built in: each process that starts in a fresh copy costs a tenth of a second of translation, hostnamectl a second.
  const lines = [`echo ${name} > /proc/sys/kernel/hostname; echo ${name} > /etc/hostname`, 'read -r id < /proc/sys/kernel/random/uuid; echo "${id//-/}" > /etc/machine-id']
  if (network !== undefined) {
    const address = takeAddress(name, network)
    const hex = Number(address.split('.').at(-1)).toString(16).padStart(2, '0')
    lines.push(`for i in {1..300}; do [ -e /sys/class/net/eth0 ] && break; sleep 0.1; done; ip link set eth0 down; ip link set eth0 address 52:54:00:78:6f:${hex}; ip address add ${address}/24 dev eth0; ip link set eth0 up`)
  }
  return lines.join('\n')
}

function guestOf (name: string, machine: Machine, network: GuestNetwork | undefined): Guest {
  const agent: Agent = machine.agent
  const run = (line: string, options: RunOptions = {}): Promise<Finished> => agent.start(line, { input: '', ...options }).finished
  const must = async (line: string, options: RunOptions = {}): Promise<string> => {
    const { status, stdout, stderr } = await run(line, options)
    if (status !== 0) throw new Error(`'${line}' on guest '${name}' ended with ${status}:\n${stdout}${stderr}`)
    return stdout
  }
  const put = async (source: string | Buffer, path: string, mode = '0644'): Promise<void> => {
    const input = typeof source === 'string' ? readFileSync(source) : source
    await must(`mkdir -p '${path.replace(/[^/]*$/, '')}' && cat > '${path}' && chmod ${mode} '${path}'`, { input })
  }
  return {
    name,
    get address () { return network?.members.get(name) ?? null },
    run, must, put,
    start: (line, options = {}) => agent.start(line, options),
    console: machine.console,
    get: (path) => agent.read(`cat '${path}'`),
    async until (line, timeout_ms = 60_000) {
      const end = performance.now() + timeout_ms
      for (;;) {
        const { status, stdout, stderr } = await run(line)
        if (status === 0) return stdout
        if (performance.now() > end) throw new Error(`'${line}' on guest '${name}' did not come true within ${timeout_ms / 1000} s; last it ended with ${status}:\n${stdout}${stderr}`)
        await new Promise((resolve) => setTimeout(resolve, 200))
      }
    },
    async load (module) {
      const path = await kernelModule(machine.layers, module)
      const place = join('/run/kmod', basename(path))
      await put(path, place)
      await must(`insmod '${place}'`)
    },
    splats: async () => (await run("dmesg | grep -E 'BUG|WARNING|Oops|general protection|refcount_t|Slab|kmemleak|lockdep|hung_task|stall|Call Trace|Kernel panic|corrupted|use-after-free'")).stdout,
    machine,
    kill: () => machine.kill(),
  }
}

// One QEMU: started in the tools root, reached by its three sockets, gone with this process whatever ends it.
import { spawn } from 'node:child_process'
import { mkdirSync, readdirSync, rmSync } from 'node:fs'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { guestStore, type GuestLayers } from '../../../src/setup/guest/layers.mjs'
import { qemuArguments } from '../../../src/setup/guest/qemu.mjs'
import { toolsCommand } from '../../../src/setup/image/tools.mjs'
import { startTime } from '../../../src/setup/lib/process.mjs'
import { openAgent, type Agent } from './agent.ts'
import { openConsole, type Console } from './console.ts'
import { openQmp, type Qmp } from './qmp.ts'
import { connectWhenThere } from './socket.ts'

export interface Machine {
  readonly qmp: Qmp
  readonly agent: Agent
  readonly console: Console
  readonly layers: GuestLayers
  /** Why QEMU is no more; null while it runs. */
  gone(): string | null
  /** Resolves when QEMU ended by itself (poweroff). */
  readonly ended: Promise<void>
  /** Ends QEMU at once and waits for that; removes what it had. */
  kill(): Promise<void>
}

export interface MachineOptions {
  readonly layers: GuestLayers
  readonly disk: string
  readonly memory_mib: number
  readonly cpus: number
  readonly append?: string | undefined
  readonly network?: string | undefined
  readonly state?: string | undefined
  readonly counted?: boolean | undefined
}

const runtime = '/run/xos-guest'
let count = 0

/** A folder for sockets that names its process, so that those of runs that were killed can be told apart and removed. */
export function runFolder (): string {
  mkdirSync(runtime, { recursive: true, mode: 0o700 })
  for (const name of readdirSync(runtime)) {
    const [pid, start] = name.split('-').map(Number)
    if (pid !== undefined && startTime(pid) !== start) rmSync(join(runtime, name), { recursive: true, force: true })
  }
  const folder = join(runtime, `${process.pid}-${startTime(process.pid)}-${++count}`)
  mkdirSync(folder, { mode: 0o700 })
  return folder
}

export async function startMachine (options: MachineOptions): Promise<Machine> {
  const folder = runFolder()
  const network = options.network === undefined ? [] : [join(options.network, '..')]
  const argv = toolsCommand(options.layers.tools, ['env', `TMPDIR=${guestStore}`, ...qemuArguments({ ...options, folder })], [guestStore, folder, ...network])
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', ...argv], { stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  let gone: string | null = null
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('error', () => {}).on('data', (chunk: string) => { said = (said + chunk).slice(-4000) })
  const ended = new Promise<void>((resolve) => {
    child.on('error', (error) => {
      gone = String(error)
      resolve()
    })
    child.on('close', (code, signal) => {
      gone = `QEMU ended with ${signal ?? code}: ${said.trim()}`
      resolve()
    })
  })
  const sockets: Socket[] = []
  let agent: Agent | null = null
  const kill = async (): Promise<void> => {
    agent?.close('the guest was ended')
    child.kill('SIGKILL')
    await ended
    for (const socket of sockets) socket.destroy()
    rmSync(folder, { recursive: true, force: true })
  }
  try {
    const open = async (name: string): Promise<Socket> => {
      const socket = await connectWhenThere(join(folder, name), 20_000, () => gone)
      sockets.push(socket)
      return socket
    }
    const qmp = await openQmp(await open('qmp'))
    const console = openConsole(await open('console'))
    agent = openAgent(await open('agent'))
    return { qmp, agent, console, layers: options.layers, gone: () => gone, ended, kill }
  } catch (error) {
    await kill()
    throw error
  }
}

// An image on a machine of its own: its own boot loader, kernel and disk, reached by its serial console only, as a person would.
import { spawn } from 'node:child_process'
import { mkdirSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { ExecutionContext } from 'ava'
import { imageArguments } from '../../../src/setup/image/qemu.mjs'
import { toolsCommand, toolsRoot } from '../../../src/setup/image/tools.mjs'
import { build } from '../../../src/setup/lib/paths.mjs'
import { type Console, openConsole } from '../support/console.ts'
import { runFolder } from '../support/machine.ts'
import { connectWhenThere } from '../support/socket.ts'

/** An emulated machine on a busy one: generous, since no test asserts a time. */
export const boot_ms = 480_000
export const password = 'Correct-horse-42'

export interface ImageMachine {
  readonly console: Console
  /** Logs root in; the first time, which asks for a new password. */
  logIn(options?: { readonly first?: boolean, readonly user?: string, readonly password?: string }): Promise<void>
  /** Runs a line in the shell that `logIn` left; its output (standard error too) and status. */
  run(line: string, timeout_ms?: number): Promise<{ readonly output: string, readonly status: number }>
  /** Its output; fails unless the status is 0. */
  must(line: string, timeout_ms?: number): Promise<string>
  /** Ends the machine at once, as a power cut does. */
  kill(): Promise<void>
  readonly ended: Promise<void>
}

export interface MachineShape {
  readonly firmware: 'uefi' | 'bios'
  /** With `uefi`: it knows Secure Boot, and starts what is signed only once keys are enrolled. */
  readonly secure?: boolean
  readonly disk?: string
  readonly iso?: string
  readonly variables?: string
  readonly memory_mib?: number
  /** Files that are further, read-only disks: /dev/vdb, /dev/vdc … */
  readonly drives?: readonly string[]
  /** `alone`: a network card with an address and nobody else; or cards plugged into switches. */
  readonly network?: 'alone' | readonly { readonly socket: string, readonly mac: string }[]
  readonly direct?: { readonly linux: string, readonly initrd: string, readonly line: string }
}

/** Starts it; it ends with the test, whatever happens. */
export async function startImage (t: ExecutionContext, shape: MachineShape): Promise<ImageMachine> {
  const folder = runFolder()
  const serial = ['-chardev', `socket,id=console,path=${join(folder, 'console')},server=on,wait=on`, '-serial', 'chardev:console']
  const argv = toolsCommand(toolsRoot().path, imageArguments({ memory_mib: 768, ...shape, serial }), [folder, ...(Array.isArray(shape.network) ? shape.network.map(({ socket }) => dirname(socket)) : [])])
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', ...argv], { stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  let gone: string | null = null
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('error', () => {}).on('data', (chunk: string) => { said = (said + chunk).slice(-2000) })
  const ended = new Promise<void>((resolve) => {
    child.on('error', (error) => { gone = String(error); resolve() })
    child.on('close', (code, signal) => { gone = `QEMU ended with ${signal ?? code}: ${said.trim()}`; resolve() })
  })
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL')
    await ended
    rmSync(folder, { recursive: true, force: true })
  }
  t.teardown(kill)
  const console = openConsole(await connectWhenThere(join(folder, 'console'), 30_000, () => gone))
  return { console, ended, kill, ...shellOn(console) }
}

function shellOn (console: Console): Pick<ImageMachine, 'logIn' | 'run' | 'must'> {
  let count = 0
  const run: ImageMachine['run'] = async (line, timeout_ms = 120_000) => {
    const mark = `mark-${++count}`
    // The mark is put together by the shell, so that the echo of the line is not taken for its end.
    console.send(`${line}; echo "${mark.slice(0, 4)}""${mark.slice(4)} $?"`)
    const match = await console.expect(new RegExp(`([^]*?)${mark} (\\d+)\\r?\\n`), timeout_ms)
    const output = (match[1] ?? '').replace(/\r/g, '')
    return { output, status: Number(match[2]) }
  }
  return {
    run,
    must: async (line, timeout_ms) => {
      const { output, status } = await run(line, timeout_ms)
      if (status !== 0) throw new Error(`'${line}' ended with ${status}:\n${output}`)
      return output
    },
    logIn: async ({ first = false, user = 'root', password: given = password } = {}) => {
      // What systemd says on the console may stand behind the prompt.
      await console.expect(/xtreemos login: /, boot_ms)
      console.send(user)
      if (first) {
        await console.expect(/New password: $/, 120_000)
        console.send(password)
        await console.expect(/Retype new password: $/, 60_000)
        console.send(password)
      } else {
        await console.expect(/Password: $/, 120_000)
        console.send(given)
      }
      await console.expect(user === 'root' ? /# $/ : /[$] (\x1b\[[^a-zA-Z]*[a-zA-Z])*$/, 300_000)
      // No line editing, no colours, wide lines: what comes back is what programs print.
      console.send('stty -echo cols 500; bind "set enable-bracketed-paste off"; PS1=; TERM=dumb; dmesg -n 1 2>/dev/null; echo ready-"now"')
      await console.expect(/ready-now\r?\n/, 60_000)
    },
  }
}

/** A folder for a test's disks, removed after it. */
export function scratch (t: ExecutionContext): string {
  const folder = join(build, 'image', `test-${process.pid}-${t.title.replace(/[^a-z]+/gi, '-').slice(0, 40)}`)
  mkdirSync(folder, { recursive: true })
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

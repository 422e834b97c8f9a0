// npm run image -- boot FLAVOUR: the newest image of this clone in QEMU, its serial console on this terminal.
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { SetupError } from '../lib/errors.mjs'
import { build } from '../lib/paths.mjs'
import { readFlavour } from './flavour.mjs'
import { imageArguments, makeOverlay, makeVariables } from './qemu.mjs'
import { ensureToolsRoot, toolsCommand } from './tools.mjs'

/**
 * @param {{flavour: string, uefi?: boolean, bios?: boolean, iso?: boolean, keep?: boolean, memory?: string, output?: string, log: string, signal: AbortSignal}} options
 * @returns {Promise<number>} QEMU's status
 */
export async function bootImage(options) {
  const { flavour, iso = false, log, signal } = options
  if (options.uefi && options.bios) throw new SetupError('XOS_USAGE', 'a machine starts with --uefi or with --bios, not with both')
  const memory_mib = Number(options.memory ?? 1024)
  if (!Number.isInteger(memory_mib) || memory_mib < 256) throw new SetupError('XOS_USAGE', `'${options.memory}' is no amount of memory: a number of MiB, at least 256`)
  const output = iso ? 'iso' : 'disk'
  if (!readFlavour(flavour).outputs.includes(output)) throw new SetupError('XOS_IMAGE_BOOT', `cannot start '${flavour}': no ${output} is made of it${iso ? '' : ', its machines start from the network of a head (image/README.md, "A cluster")'}`)
  const image = newest(options.output ?? join(build, 'image', flavour), iso ? '.iso' : '.img', flavour)
  const tools = await ensureToolsRoot({ log, signal })
  const folder = mkdtempSync(join(build, 'image/boot-'))
  try {
    const firmware = options.bios ? 'bios' : 'uefi'
    const variables = join(folder, 'variables.fd')
    if (firmware === 'uefi') makeVariables(tools, variables)
    const kept = join(build, 'image', `${flavour}-kept.qcow2`)
    const disk = iso ? undefined : options.keep ? kept : join(folder, 'disk.qcow2')
    // A kept disk stands on the image that it was made from.
    if (disk !== undefined && !(existsSync(disk) && statSync(disk).mtimeMs > statSync(image).mtimeMs)) await makeOverlay(tools, image, disk, { signal })
    process.stdout.write(`Starting '${image}' (${firmware.toUpperCase()}); its serial console is this terminal. Without KVM it takes half a minute.\nCtrl-A X ends the machine, Ctrl-A H shows more.\n\n`)
    return await runMachine(tools, imageArguments({ firmware, disk, iso: iso ? image : undefined, variables, serial: ['-serial', 'mon:stdio'], memory_mib, network: true }), [join(image, '..')], signal)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function runMachine(tools, argv, binds, signal) {
  const [program, ...args] = toolsCommand(tools, argv, binds)
  // The keys are the machine's: ^C goes to it, not to us.
  process.removeAllListeners('SIGINT')
  process.on('SIGINT', () => {})
  // QEMU puts the terminal into raw mode, and does not put it back when it is killed.
  const terminal = process.stdin.isTTY ? spawnSync('stty', ['-g'], { stdio: ['inherit', 'pipe', 'ignore'], encoding: 'utf8' }).stdout.trim() : ''
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', program, ...args], { stdio: 'inherit' })
  // unshare(1) ignores TERM while it waits; what it started ends with it (--kill-child).
  const stop = () => child.kill('SIGKILL')
  signal.addEventListener('abort', stop, { once: true })
  try {
    return await new Promise((resolve, reject) => {
      child.on('error', reject)
      child.on('close', (code) => resolve(code ?? 1))
    })
  } finally {
    signal.removeEventListener('abort', stop)
    if (terminal !== '') spawnSync('stty', [terminal], { stdio: ['inherit', 'ignore', 'ignore'] })
    process.stdout.write('\n')
  }
}

function newest(folder, suffix, flavour) {
  const names = existsSync(folder) ? readdirSync(folder).filter((name) => name.startsWith(`xtreemos-${flavour}-`) && name.endsWith(suffix)) : []
  const found = names.map((name) => join(folder, name)).sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs)[0]
  if (found === undefined) throw new SetupError('XOS_IMAGE_BOOT', `cannot start '${flavour}': there is no image '*${suffix}' in '${folder}'; make it with 'npm run image -- ${flavour}'`)
  return found
}

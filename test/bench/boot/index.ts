import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { XosError } from '../../../src/core/errors.ts'
import { buildImage } from '../../../src/setup/image/builder.mjs'
import { imageArguments, makeOverlay } from '../../../src/setup/image/qemu.mjs'
import { imageRoot } from '../../../src/setup/image/root.mjs'
import { ensureToolsRoot, toolsCommand } from '../../../src/setup/image/tools.mjs'
import { build } from '../../../src/setup/lib/paths.mjs'
import type { Bench } from '../bench.ts'
import { once } from '../once.ts'
import type { Probe, Samples, Topic } from '../topic.ts'
import { type PlainDebian, plainDebian } from './debian.ts'

const anchorBase = '/var/lib/xos/anchors'
const log = join(build, 'bench-image.log')
const make_ms = 20 * 60_000
const boot_ms = 15 * 60_000
const prompt = /login: $/

interface Started { readonly image: string, readonly linux: string, readonly initrd: string, readonly line: string }

/**
 * Boot to the login prompt on the serial console, both started by QEMU itself with the same kernel, the same emulated machine and a disk as
 * it comes from the builder: a first boot, as a person sees it. The disk image's own boot loaders are left out on both sides.
 */
export async function bootTopic(bench: Bench, _samples: Samples): Promise<Topic> {
  const { say, signal, cleanup } = bench.options
  const tools = await ensureToolsRoot({ log, signal })
  const folder = await mkdtemp(join(build, 'image/bench-'))
  cleanup.add('the images of the bench', () => rm(folder, { recursive: true, force: true }))
  const ours = once(() => ourImage(folder, say, signal))
  const debian = once(() => plainDebian(anchorBase, tools, say, signal))
  const boot = (id: string, started: () => Promise<Started>): Probe => ({
    ids: [`prompt.${id}`],
    run: async () => ({ [`prompt.${id}`]: await bootOnce(tools, folder, await started(), signal) }),
  })
  return {
    name: 'boot',
    measures: [{ id: 'prompt.ours', label: 'boot to login prompt: image pc', unit: 's' }, { id: 'prompt.debian', label: 'boot to login prompt: plain Debian 13', unit: 's' }],
    bars: [{ label: 'boot to login prompt', measure: 'prompt.ours', against: 'prompt.debian', atMost: 0.8 }],
    probes: [boot('debian', async () => withSameKernel(await debian(), await ours())), boot('ours', ours)],
  }
}

/** The kernel file itself is ours, of which the modules in Debian's initramfs have to be: both come from linux-image-amd64. */
async function withSameKernel(debian: PlainDebian, ours: Started): Promise<Started> {
  const [theirs, own] = await Promise.all([readFile(debian.linux), readFile(ours.linux)])
  if (!theirs.equals(own)) throw new XosError('XOS_BENCH_ANCHOR_ROOT', `the plain Debian in '${debian.image}' has another kernel (${debian.kernel}) than the image; remove its folder and start again`)
  return { ...debian, line: 'root=/dev/vda ro quiet console=tty0 console=ttyS0,115200n8' }
}

async function ourImage(folder: string, say: (text: string) => void, signal: AbortSignal): Promise<Started> {
  say('boot: making the image pc (half a minute, more without its roots)')
  const packages = process.env['XOS_IMAGE_PACKAGES']
  const { files } = await buildImage({
    flavour: 'pc', output: folder, version: '1.0', outputs: ['root', 'disk'], gridRoot: imageRoot().path, ...(packages === undefined ? {} : { packages }), log, signal: AbortSignal.any([signal, AbortSignal.timeout(make_ms)]),
    progress: { say: () => {}, end: () => {}, step: async <T>(_title: string, _usual_s: number, work: (note: (text: string) => void) => Promise<T>): Promise<T> => work(() => {}) },
  })
  const file = (end: string): string => files.find(({ path }) => path.endsWith(end))?.path ?? ''
  return { image: file('.img'), linux: file('.linux'), initrd: file('.initrd'), line: (await readFile(file('.cmdline'), 'utf8')).trim() }
}

/** Seconds from the start of QEMU to the prompt. */
async function bootOnce(tools: string, folder: string, { image, linux, initrd, line }: Started, signal: AbortSignal): Promise<number> {
  const disk = join(folder, 'disk.qcow2')
  await rm(disk, { force: true })
  await makeOverlay(tools, image, disk, { signal })
  const argv = toolsCommand(tools, imageArguments({ firmware: 'bios', disk, serial: ['-serial', 'stdio'], memory_mib: 1024, direct: { linux, initrd, line } }), [folder, join(image, '..')])
  const began = performance.now()
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', ...argv], { stdio: ['ignore', 'pipe', 'pipe'] })
  let shown = ''
  try {
    return await new Promise((resolve, reject) => {
      const fail = (why: string): void => { reject(new XosError('XOS_BENCH_BOOT', `no login prompt on '${image}': ${why}; the console showed:\n${shown.slice(-600)}`)) }
      const timer = setTimeout(() => { fail(`not within ${boot_ms / 1000} s`) }, boot_ms)
      timer.unref()
      signal.addEventListener('abort', () => { fail('interrupted') }, { once: true })
      child.on('error', reject).on('close', () => { fail('QEMU ended') })
      child.stderr.setEncoding('utf8').on('data', (chunk: string) => { shown += chunk })
      child.stdout.setEncoding('latin1').on('data', (chunk: string) => {
        shown = (shown + chunk).slice(-8_000)
        if (prompt.test(shown)) {
          clearTimeout(timer)
          resolve((performance.now() - began) / 1000)
        }
      })
    })
  } finally {
    child.kill('SIGKILL')
  }
}

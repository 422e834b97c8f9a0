// What the kernel module xos_exec costs, in instructions: a guest under QEMU's -icount, where the clock counts them, so that a noisy machine does not matter.

import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buildModule } from '../../../src/setup/build/kmod.mjs'
import { ensureToolsRoot, runTool, toolsKernel } from '../../../src/setup/image/tools.mjs'
import type { Bench } from '../bench.ts'
import type { Probe, Samples, Topic } from '../topic.ts'

const cases = [
  ['without', 'without the module'],
  ['loaded', 'module loaded, no table'],
  ['outside', 'tables set; a user of this node'],
  ['outside-keys', 'tables set; a user of this node with a session keyring'],
  ['marked', 'in a session; a marked program'],
  ['kept', 'in a session; kept here by the table, of 41 rules'],
  ['redirected', 'in a session; handed over (to a program that does nothing)'],
] as const

const within = 1.01
const boot_ms_max = 20 * 60_000

/** The first process of the guest: no more than the measuring program needs. */
const init = (count: number): string => `#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
sleep 10
/st/cost /st/xos_exec.ko /st ${count}
echo o > /proc/sysrq-trigger
sleep 60
`

export async function kmodTopic(bench: Bench, _samples: Samples): Promise<Topic> {
  const count = bench.count(301, 101)
  const probe: Probe = { ids: cases.map(([id]) => id), run: () => measure(count, bench.options.signal, bench.options.say) }
  return {
    name: 'kmod',
    measures: cases.map(([id, label]) => ({ id, label: `instructions per fork, execve, exit and wait: ${label}`, unit: 'count' })),
    bars: [
      ...(['loaded', 'outside', 'outside-keys'] as const).map((measure) => ({ label: `outside of sessions (${measure})`, measure, against: 'without', atMost: within })),
      { label: 'handing over', measure: 'redirected', against: 'without', atMost: 1.2 },
      { label: 'kept here by the kernel', measure: 'kept', against: 'without', atMost: 1.2 },
    ],
    probes: [probe],
  }
}

async function measure(count: number, signal: AbortSignal, say: (text: string) => void): Promise<Record<string, number>> {
  const folder = mkdtempSync(join(tmpdir(), 'xos-kmod-'))
  const log = join(folder, 'log')
  try {
    const tools = await ensureToolsRoot({ log, signal, note: say })
    const kernel = toolsKernel(tools)
    const module = await buildModule(tools, 'xos_exec', { log, signal })
    await makeInitrd(tools, folder, module, count, log, signal)
    say('the guest counts instructions; this takes some minutes')
    const output = await runTool(tools, ['qemu-system-x86_64', '-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none', '-machine', 'q35', '-accel', 'tcg,thread=single',
      '-icount', 'shift=0,sleep=off', '-cpu', 'Nehalem', '-smp', '1', '-m', '512', '-kernel', `/boot/vmlinuz-${kernel.version}`, '-initrd', join(folder, 'initrd'),
      '-append', 'console=ttyS0 quiet panic=-1 nokaslr tsc=reliable no_timer_check lpj=1000000 cryptomgr.notests random.trust_cpu=on mitigations=off', '-serial', 'stdio'],
    { log, signal, timeout_ms: boot_ms_max, binds: [folder] })
    return readCosts(output)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function makeInitrd(tools: string, folder: string, module: string, count: number, log: string, signal: AbortSignal): Promise<void> {
  const root = join(folder, 'root')
  for (const each of ['bin', 'dev', 'proc', 'sys', 't', 'tmp', 'st']) mkdirSync(join(root, each), { recursive: true })
  copyFileSync(join(tools, 'usr/bin/busybox'), join(root, 'bin/busybox'))
  copyFileSync(join(module, 'xos_exec.ko'), join(root, 'st/xos_exec.ko'))
  for (const program of ['cost', 'nothing']) copyFileSync(join(module, 'selftest', program), join(root, 'st', program))
  writeFileSync(join(root, 'init'), init(count))
  for (const program of ['bin/busybox', 'st/cost', 'st/nothing', 'init']) chmodSync(join(root, program), 0o755)
  await runTool(tools, ['strip', '--strip-debug', join(root, 'st/xos_exec.ko')], { log, signal, timeout_ms: 60_000, binds: [folder] })
  await runTool(tools, ['sh', '-c', 'cd "$1" && find . | cpio --quiet --create --format=newc > "$2"', '-', root, join(folder, 'initrd')], { log, signal, timeout_ms: 60_000, binds: [folder] })
}

/** Lines "NAME number" among what else the console shows. */
export function readCosts(output: string): Record<string, number> {
  const found: Record<string, number> = {}
  for (const [id] of cases) {
    const value = new RegExp(`^${id} (\\d+)\\r?$`, 'm').exec(output)?.[1]
    if (value !== undefined) found[id] = Number(value)
  }
  if (Object.keys(found).length === 0) throw new Error(`the guest measured nothing; its console ends with:\n${output.slice(-1000)}`)
  return found
}

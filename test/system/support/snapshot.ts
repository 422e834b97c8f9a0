// A booted guest, kept: booted once for each hash of what it is, from then on loaded. A test so gets its guest without the boot.
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ensureGuestLayers, guestStore, type GuestLayers } from '../../../src/setup/guest/layers.mjs'
import { qemuArguments } from '../../../src/setup/guest/qemu.mjs'
import { runTool } from '../../../src/setup/image/tools.mjs'
import { hashInputs } from '../../../src/setup/lib/hash.mjs'
import { waitLock } from '../../../src/setup/lib/lock.mjs'
import { build } from '../../../src/setup/lib/paths.mjs'
import { startMachine } from './machine.ts'
import { migrated } from './qmp.ts'

export interface Shape {
  readonly memory_mib: number
  readonly cpus: number
  /** Added to the kernel's command line. */
  readonly append?: string | undefined
  /** Without our own files: Debian and the kernel alone. */
  readonly plain?: boolean | undefined
  /** Its clock counts instructions. */
  readonly counted?: boolean | undefined
}

export interface Snapshot {
  readonly layers: GuestLayers
  readonly state: string
  readonly disk: string
}

const log = join(build, 'guest.log')
const boot_timeout_ms = 480_000
const keep = 6
const abandoned_ms = 3_600_000
const layers = new Map<boolean, Promise<GuestLayers>>()

/** The layers of this build, made once a process. */
export function guestLayers (plain = false): Promise<GuestLayers> {
  const made = layers.get(plain) ?? ensureGuestLayers({ log, plain })
  layers.set(plain, made)
  return made
}

export async function ensureSnapshot (shape: Shape): Promise<Snapshot> {
  const made = await guestLayers(shape.plain)
  const key = hashInputs('/', [], [made.hash, qemuArguments({ layers: made, disk: '', folder: '', ...shape }).join(' '), JSON.stringify([shape.memory_mib, shape.cpus, shape.append ?? ''])])
  const folder = join(guestStore, `${key}.snapshot`)
  const lock = await waitLock(`${folder}.lock`, 'booting a guest', { timeout_ms: boot_timeout_ms })
  if (!('release' in lock)) throw new Error(`cannot take the snapshot '${folder}': process ${lock.holder.pid} has been at it for ${boot_timeout_ms / 1000} s`)
  try {
    if (!existsSync(folder)) await takeSnapshot(made, shape, folder)
    const now = new Date()
    utimesSync(folder, now, now)
    prune()
    return { layers: made, state: join(folder, 'state'), disk: join(folder, 'disk.qcow2') }
  } finally {
    lock.release()
  }
}

async function takeSnapshot (made: GuestLayers, shape: Shape, folder: string): Promise<void> {
  const partial = `${folder}.partial`
  rmSync(partial, { recursive: true, force: true })
  mkdirSync(partial, { mode: 0o700 })
  const disk = join(partial, 'disk.qcow2')
  await runTool(made.tools, ['qemu-img', 'create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', made.disk, disk], { log, binds: [guestStore] })
  const begun = performance.now()
  const machine = await startMachine({ layers: made, disk, ...shape })
  try {
    await machine.console.expect(/login: $/, boot_timeout_ms)
    const booted = performance.now()
    await machine.agent.hello(60_000)
    // What is still starting behind the prompt would go on in every test; what only fills the page cache makes loading slow.
    const { status, stdout, stderr } = await machine.agent.start('udevadm settle --timeout 300; systemctl is-system-running --wait; systemctl --failed --no-legend; sync; echo 3 > /proc/sys/vm/drop_caches', { timeout_ms: boot_timeout_ms }).finished
    if (status !== 0) throw new Error(`the guest does not come to rest: ${stdout}${stderr}`)
    await machine.qmp.execute('stop')
    await machine.qmp.execute('migrate-set-capabilities', { capabilities: [{ capability: 'mapped-ram', state: true }] })
    await machine.qmp.execute('migrate', { uri: `file:${join(partial, 'state')}` })
    await migrated(machine.qmp, 60_000)
    writeFileSync(join(partial, 'about.json'), JSON.stringify({ ...shape, boot_to_login_ms: Math.round(booted - begun), system: stdout.trim() }))
    await machine.qmp.execute('quit')
    await machine.ended
  } finally {
    await machine.kill()
    if (machine.console.text() !== '') writeFileSync(join(build, 'guest-boot.log'), machine.console.text())
  }
  renameSync(partial, folder)
}

function prune (): void {
  const old = readdirSync(guestStore).filter((name) => name.endsWith('.snapshot')).map((name) => join(guestStore, name)).sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs)
  for (const each of old.slice(keep)) rmSync(each, { recursive: true, force: true })
  // What runs that were killed had begun.
  for (const name of readdirSync(guestStore).filter((name) => name.endsWith('.snapshot.partial'))) {
    const path = join(guestStore, name)
    const begun_ms = statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Infinity
    if (performance.timeOrigin + performance.now() - begun_ms > abandoned_ms) rmSync(path, { recursive: true, force: true })
  }
}

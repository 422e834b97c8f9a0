// The disk that this system runs from: its slots and its EFI partition.
import { execFile } from 'node:child_process'
import { mkdir, readFile, readdir, readlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { XosError } from '../core/errors.ts'
import type { Target } from './install.ts'

const run = promisify(execFile)
const SLOTS = ['xos-a', 'xos-b']
const MOUNT_POINT = '/run/xos-esp'
const COMMAND_TIMEOUT_MS = 30_000

export interface Machine extends Target {
  readonly espDevice: string
}

/** Throws XOS_UPDATE_MACHINE where there are no slots: an ISO, a Debian with our packages. */
export async function findMachine(sys = '/sys'): Promise<Machine> {
  const release = await readFile('/usr/lib/os-release', 'utf8')
  const [flavour, version] = [/^IMAGE_ID=xtreemos-(.*)$/m.exec(release)?.[1], /^IMAGE_VERSION=(.*)$/m.exec(release)?.[1]]
  const partitions = await partitionsOfRoot(sys)
  const slot = [...partitions].find(([name, { isRoot }]) => SLOTS.includes(name) && isRoot)?.[0]
  const otherSlot = SLOTS.find((name) => name !== slot) ?? ''
  const [other, esp] = [partitions.get(otherSlot), partitions.get('esp')]
  if (flavour === undefined || version === undefined || slot === undefined || other === undefined || esp === undefined) {
    throw new XosError('XOS_UPDATE_MACHINE', 'cannot update this system: it does not run from a disk with two slots (an XtreemOS disk image); on Debian with our packages use apt')
  }
  return { flavour, version, slot, otherSlot, otherDevice: other.device, otherBytes: other.bytes, espDevice: esp.device }
}

async function partitionsOfRoot(sys: string): Promise<Map<string, { device: string, bytes: number, isRoot: boolean }>> {
  const found = new Map<string, { device: string, bytes: number, isRoot: boolean }>()
  const below = (await readdir(join(sys, 'class/block/dm-0/slaves')).catch(() => []))[0]
  if (below === undefined) return found
  const disk = dirname(await readlink(join(sys, 'class/block', below)))
  const folder = join(sys, 'class/block', disk)
  for (const name of await readdir(folder)) {
    if (!name.startsWith(basename(disk))) continue
    const event = await readFile(join(folder, name, 'uevent'), 'utf8').catch(() => '')
    const label = /^PARTNAME=(.*)$/m.exec(event)?.[1]
    if (label === undefined) continue
    found.set(label, { device: `/dev/${name}`, bytes: Number(await readFile(join(folder, name, 'size'), 'utf8')) * 512, isRoot: name === below })
  }
  return found
}

/** Mounts the EFI partition, runs `work` with its path, and takes it away again, whatever happened. */
export async function withEsp<T>(machine: Machine, work: (esp: string) => Promise<T>): Promise<T> {
  await mkdir(MOUNT_POINT, { recursive: true, mode: 0o700 })
  await run('mount', ['-t', 'vfat', '-o', 'umask=0077,nosuid,nodev,noexec', machine.espDevice, MOUNT_POINT], { timeout: COMMAND_TIMEOUT_MS })
  try {
    return await work(MOUNT_POINT)
  } finally {
    await run('umount', [MOUNT_POINT], { timeout: COMMAND_TIMEOUT_MS })
  }
}

// Which versions a machine has, and which one the boot loaders will start. Pure: works on a folder that is (or looks like) the EFI partition.
import { mkdir, open, readFile, readdir, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { XosError } from '../core/errors.ts'

/**
 * How often a version on trial is started before the loaders go back to the one before it. Once: what fails (a block that is not what was signed, no root, nobody
 * confirms) fails the second time too, and each start keeps the machine away from its users.
 */
export const TRIES = 1
const ENVIRONMENT_BYTES = 1024

export interface Entry {
  readonly version: string
  /** File name below EFI/Linux. */
  readonly file: string
  /** Starts left, while on trial; 0: it did not prove itself, or was sent back; null: good. */
  readonly left: number | null
}

/** Slot names → the version written there. */
export type Slots = Readonly<Record<string, string>>

const entryPattern = /^xos-([0-9][0-9A-Za-z.]{0,63}?)(?:\+(\d+)(?:-\d+)?)?\.efi$/

/** What systemd-boot sees: the counter is part of the name (UAPI group, Automatic Boot Assessment). */
export async function listEntries(esp: string): Promise<Entry[]> {
  const names = await readdir(join(esp, 'EFI/Linux'))
  return names.flatMap((file) => {
    const match = entryPattern.exec(file)
    return match?.[1] === undefined ? [] : [{ version: match[1], file, left: match[2] === undefined ? null : Number(match[2]) }]
  }).sort((a, b) => compareVersions(b.version, a.version))
}

/** Renames the entry of a version: `left` null makes it good, 0 sends it to the end of the list. */
export async function setLeft(esp: string, version: string, left: number | null): Promise<void> {
  const entry = (await listEntries(esp)).find((each) => each.version === version)
  if (entry === undefined) throw new XosError('XOS_UPDATE_VERSION', `cannot find version '${version}' on the EFI partition`, { version })
  const file = `xos-${version}${left === null ? '' : `+${left}`}.efi`
  if (file !== entry.file) await rename(join(esp, 'EFI/Linux', entry.file), join(esp, 'EFI/Linux', file))
  await syncFolder(join(esp, 'EFI/Linux'))
}

export async function readSlots(esp: string): Promise<Slots> {
  try {
    return JSON.parse(await readFile(join(esp, 'xos/slots.json'), 'utf8')) as Slots
  } catch (error) {
    throw new XosError('XOS_UPDATE_SLOTS', "cannot read 'xos/slots.json' on the EFI partition: it is missing or damaged; write the image anew", {}, { cause: error })
  }
}

export async function writeSlots(esp: string, slots: Slots): Promise<void> {
  await writeWhole(join(esp, 'xos/slots.json'), `${JSON.stringify(slots)}\n`)
}

/** GRUB's variables. */
export async function readEnvironment(esp: string): Promise<Map<string, string>> {
  const text = await readFile(join(esp, 'xos/grubenv'), 'latin1')
  return new Map(text.split('\n').flatMap((line) => {
    const match = /^([a-z_]+)=(.*)$/.exec(line)
    return match?.[1] === undefined ? [] : [[match[1], match[2] ?? '']]
  }))
}

/** Written in place: GRUB knows the blocks of the file and writes there itself. */
export async function writeEnvironment(esp: string, values: ReadonlyMap<string, string>): Promise<void> {
  const text = `# GRUB Environment Block\n${[...values].map(([name, value]) => `${name}=${value}\n`).join('')}`
  if (text.length > ENVIRONMENT_BYTES) throw new RangeError('GRUB keeps at most 1,024 bytes')
  const file = await open(join(esp, 'xos/grubenv'), 'r+')
  try {
    await file.write(Buffer.from(text.padEnd(ENVIRONMENT_BYTES, '#'), 'latin1'), 0, ENVIRONMENT_BYTES, 0)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Takes a version's files away, its entry first, so that no loader finds half of it. */
export async function removeVersion(esp: string, version: string): Promise<void> {
  for (const entry of await listEntries(esp)) if (entry.version === version) await rm(join(esp, 'EFI/Linux', entry.file))
  await syncFolder(join(esp, 'EFI/Linux'))
  await rm(join(esp, 'xos', version), { recursive: true, force: true })
}

/** A whole file or none, on disk when this returns. */
export async function writeWhole(path: string, data: string | Buffer): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  const partial = `${path}.new`
  const file = await open(partial, 'w', 0o600)
  try {
    await file.writeFile(data)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(partial, path)
  await syncFolder(dirname(path))
}

export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

/** As systemd-boot orders them: numbers by value, words by letters. */
export function compareVersions(a: string, b: string): number {
  const split = (version: string): string[] => version.match(/\d+|[A-Za-z]+/g) ?? []
  const [left, right] = [split(a), split(b)]
  for (let index = 0; index < Math.max(left.length, right.length); index++) {
    const [x = '', y = ''] = [left[index], right[index]]
    const isNumber = /^\d/.test(x) && /^\d/.test(y)
    const order = isNumber ? Number(BigInt(x) - BigInt(y)) : x < y ? -1 : x > y ? 1 : 0
    if (order !== 0) return Math.sign(order)
  }
  return 0
}

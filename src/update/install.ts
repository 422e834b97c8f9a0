import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { XosError } from '../core/errors.ts'
import { type Bundle, type PartName, checkParts, placeOf, readPart } from './bundle.ts'
import { TRIES, compareVersions, readEnvironment, readSlots, removeVersion, syncFolder, writeEnvironment, writeSlots, writeWhole } from './versions.ts'

/** What an installation goes by of the machine that it runs on. */
export interface Target {
  readonly flavour: string
  /** The version that runs. */
  readonly version: string
  /** Name of the slot that it runs from, and of the other one. */
  readonly slot: string
  readonly otherSlot: string
  /** Device of the other slot, and its size. */
  readonly otherDevice: string
  readonly otherBytes: number
}

export interface InstallOptions {
  readonly path: string
  readonly esp: string
  readonly allowOlder: boolean
  readonly signal?: AbortSignal
  say(text: string): void
}

/** Files of a version for GRUB, below xos/VERSION. */
const biosParts: readonly PartName[] = ['linux', 'linux.sig', 'initrd', 'initrd.sig', 'boot.cfg', 'boot.cfg.sig']

/** Whether the bundle is for this system: throws XOS_UPDATE_FLAVOUR, XOS_UPDATE_OLD or XOS_UPDATE_SIZE. */
export function checkFits(bundle: Bundle, target: Target, path: string, allowOlder: boolean): void {
  if (bundle.flavour !== target.flavour) throw new XosError('XOS_UPDATE_FLAVOUR', `cannot use the update '${path}': it is for the flavour '${bundle.flavour}', this is '${target.flavour}'`, { path })
  const order = compareVersions(bundle.version, target.version)
  if (order === 0) throw new XosError('XOS_UPDATE_OLD', `cannot use the update '${path}': its version ${bundle.version} is the one that runs`, { path, version: bundle.version })
  if (order < 0 && !allowOlder) {
    throw new XosError('XOS_UPDATE_OLD', `cannot use the update '${path}': its version ${bundle.version} is older than ${target.version}, which runs; --allow-older does it all the same`, { path, version: bundle.version })
  }
  const { bytes } = placeOf(bundle, 'root')
  if (bytes > target.otherBytes) throw new XosError('XOS_UPDATE_SIZE', `cannot use the update '${path}': its root has ${bytes} bytes, the slot ${target.otherSlot} ${target.otherBytes}`, { path })
}

/**
 * Writes the version into the slot that is not running and makes it the next one to be started, on trial. In this order, so that a
 * power cut at any point leaves a version that starts: check all; forget what was in the slot; write the slot; write the boot files, the entry last.
 */
export async function install(bundle: Bundle, target: Target, options: InstallOptions): Promise<void> {
  const { path, esp, signal, say } = options
  checkFits(bundle, target, path, options.allowOlder)
  say(`checking '${path}' (version ${bundle.version})`)
  await checkParts(bundle, path, signal)

  const slots = await readSlots(esp)
  const replaced = slots[target.otherSlot]
  await writeEnvironment(esp, environment(target.version, ''))
  if (replaced !== undefined && replaced !== target.version) await removeVersion(esp, replaced)
  await writeSlots(esp, { [target.slot]: target.version })

  say(`writing it to ${target.otherSlot} (${target.otherDevice})`)
  await writeSlot(bundle, target.otherDevice, path, signal)
  for (const name of biosParts) await writePart(bundle, name, path, join(esp, 'xos', bundle.version, name))
  await writeSlots(esp, { [target.slot]: target.version, [target.otherSlot]: bundle.version })
  await writePart(bundle, 'kernel.efi', path, join(esp, 'EFI/Linux', `xos-${bundle.version}+${TRIES}.efi`))
  await writeEnvironment(esp, environment(bundle.version, target.version, TRIES))
  await syncFolder(esp)
}

async function writeSlot(bundle: Bundle, device: string, path: string, signal: AbortSignal | undefined): Promise<void> {
  const file = await open(device, 'r+')
  try {
    await readPart(bundle, 'root', path, async (chunk, position) => {
      for (let done = 0; done < chunk.length;) done += (await file.write(chunk, done, chunk.length - done, position + done)).bytesWritten
    }, signal)
    await file.sync()
  } finally {
    await file.close()
  }
}

async function writePart(bundle: Bundle, name: PartName, path: string, target: string): Promise<void> {
  const chunks: Buffer[] = []
  await readPart(bundle, name, path, (chunk) => { chunks.push(chunk) })
  await writeWhole(target, Buffer.concat(chunks))
}

/** What GRUB is told: which version, and which one to go back to. */
export function environment(version: string, before: string, tries?: number): ReadonlyMap<string, string> {
  return new Map([['xos_version', version], ['xos_before', before], ['xos_tries', tries === undefined ? '' : String(tries)]])
}

/** The running version has proved itself: it is started without counting from now on. Whether there was anything to do. */
export async function confirm(esp: string, version: string, setGood: (esp: string, version: string, left: null) => Promise<void>): Promise<void> {
  await setGood(esp, version, null)
  const values = await readEnvironment(esp)
  if (values.get('xos_version') === version && values.get('xos_tries') !== '') await writeEnvironment(esp, environment(version, values.get('xos_before') ?? ''))
}

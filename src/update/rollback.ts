import { XosError } from '../core/errors.ts'
import { environment } from './install.ts'
import { listEntries, readSlots, setLeft, writeEnvironment } from './versions.ts'

/**
 * Makes the version in the other slot the next one to be started. The one that runs now stays where it is, last in the list of the
 * loader, and a second roll-back goes forward to it again. Throws XOS_UPDATE_VERSION when there is no other version.
 * @returns the version that will be started
 */
export async function rollBack(esp: string, running: { readonly version: string, readonly otherSlot: string }): Promise<string> {
  const other = (await readSlots(esp))[running.otherSlot]
  const entry = (await listEntries(esp)).find((each) => each.version === other)
  if (other === undefined || entry === undefined) throw new XosError('XOS_UPDATE_VERSION', `cannot roll back from version ${running.version}: slot ${running.otherSlot} has no other version`)
  // The other one first: whenever the power goes, one of them can be started.
  await setLeft(esp, other, null)
  await setLeft(esp, running.version, 0)
  await writeEnvironment(esp, environment(other, running.version))
  return other
}

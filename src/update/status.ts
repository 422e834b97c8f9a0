import { listEntries, readEnvironment, readSlots } from './versions.ts'

export interface VersionStatus {
  readonly version: string
  readonly slot: string | null
  readonly running: boolean
  /** good; trial: counted starts left, or this is the counted start; bad: it did not prove itself, or was sent back. */
  readonly state: 'good' | 'trial' | 'bad'
}

export async function readStatus(esp: string, running: string): Promise<VersionStatus[]> {
  const slots = Object.entries(await readSlots(esp))
  // One that runs and was sent back has no starts left either, but is not the next one any more.
  const next = (await readEnvironment(esp)).get('xos_version')
  return (await listEntries(esp)).map(({ version, left }) => ({
    version, slot: slots.find(([, each]) => each === version)?.[0] ?? null, running: version === running,
    state: left === null ? 'good' : left > 0 || (version === running && version === next) ? 'trial' : 'bad',
  }))
}

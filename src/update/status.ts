import { listEntries, readSlots } from './versions.ts'

export interface VersionStatus {
  readonly version: string
  readonly slot: string | null
  readonly running: boolean
  /** good; trial: counted starts left; bad: it did not prove itself, or was sent back. */
  readonly state: 'good' | 'trial' | 'bad'
}

export async function readStatus(esp: string, running: string): Promise<VersionStatus[]> {
  const slots = Object.entries(await readSlots(esp))
  return (await listEntries(esp)).map(({ version, left }) => ({
    version, slot: slots.find(([, each]) => each === version)?.[0] ?? null, running: version === running,
    state: left === null ? 'good' : left > 0 ? 'trial' : 'bad',
  }))
}

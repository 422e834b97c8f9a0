import { readFileSync, readdirSync, readlinkSync } from 'node:fs'
import { basename } from 'node:path'

export interface ProcessMemory {
  readonly pid: number
  readonly name: string
  /** Its share: pages that others map too are divided by how many they are. */
  readonly pss_mib: number
  /** Memory of its own: anonymous, and private copies of file pages. */
  readonly own_kib: number
  /** Resident pages of files, by file: what it would hold of them were it alone. */
  readonly files_kib: ReadonlyMap<string, number>
}

/** All processes in the pid namespace of `init` (and not in one nested in it). */
export function processesOf(init: number): ProcessMemory[] {
  const namespace = readlinkSync(`/proc/${init}/ns/pid`)
  return readdirSync('/proc').filter((entry) => /^\d+$/.test(entry)).flatMap((entry) => {
    try {
      if (readlinkSync(`/proc/${entry}/ns/pid`) !== namespace) return []
      return [{ pid: Number(entry), name: nameOf(entry), ...parseMappings(readFileSync(`/proc/${entry}/smaps`, 'latin1')) }]
    } catch {
      return [] // it ended while we looked
    }
  })
}

/** What a node's processes hold on a machine of their own: each file's pages once, however many other nodes run from the same image. */
export function alone(processes: readonly ProcessMemory[]): number {
  const files = new Map<string, number>()
  for (const { files_kib } of processes) {
    for (const [file, kib] of files_kib) files.set(file, Math.max(files.get(file) ?? 0, kib))
  }
  const own = processes.reduce((sum, { own_kib }) => sum + own_kib, 0)
  return ([...files.values()].reduce((sum, kib) => sum + kib, 0) + own) / 1024
}

/** Node names its main thread, so that xosd goes by its script. */
function nameOf(pid: string): string {
  const comm = readFileSync(`/proc/${pid}/comm`, 'utf8').trim()
  if (comm !== 'MainThread' && comm !== 'node') return comm
  const script = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').find((word) => word.endsWith('.js') || word.endsWith('.ts')) ?? comm
  return script.endsWith('/daemon/main.js') ? 'xosd' : basename(script)
}

/** Reads /proc/PID/smaps (proc(5)): a line per mapping, followed by its fields in kB. */
export function parseMappings(text: string): Pick<ProcessMemory, 'pss_mib' | 'own_kib' | 'files_kib'> {
  const files_kib = new Map<string, number>()
  let pss_kib = 0
  let own_kib = 0
  let file: string | null = null
  for (const line of text.split('\n')) {
    const mapping = /^[0-9a-f]+-[0-9a-f]+ \S+ \S+ (\S+) (\d+) *(.*)$/.exec(line)
    if (mapping !== null) {
      file = mapping[2] === '0' ? null : `${mapping[1]}:${mapping[2]}`
      continue
    }
    const field = /^(\w+):\s+(\d+) kB$/.exec(line)
    const kib = Number(field?.[2] ?? 0)
    if (field?.[1] === 'Pss') pss_kib += kib
    if (field?.[1] === 'Rss' && file !== null) files_kib.set(file, (files_kib.get(file) ?? 0) + kib)
    if (field?.[1] === 'Rss' && file === null) own_kib += kib
    // Counted by Rss already; as its own, it is no page of the file.
    if (field?.[1] === 'Anonymous' && file !== null) {
      files_kib.set(file, (files_kib.get(file) ?? 0) - kib)
      own_kib += kib
    }
  }
  return { pss_mib: pss_kib / 1024, own_kib, files_kib }
}

import { readFileSync, readdirSync, readlinkSync } from 'node:fs'
import type { Bench } from '../bench.ts'
import type { Grid, GridNode } from '../grid.ts'
import type { Part } from '../part.ts'

export interface ProcessMemory { readonly pid: number, readonly name: string, readonly pss_mib: number }

/** What an idle node's daemons hold: PSS, so that shared pages are counted once. Measured once, before the first login. */
export function memory(bench: Bench): Part {
  let found: Readonly<Record<string, number>> | undefined
  return {
    measures: [
      { id: 'memory.n1', label: 'memory of the daemons of idle n1 (VO registry, DIR, MRC)', unit: 'MiB' },
      { id: 'memory.n2', label: 'memory of the daemons of idle n2', unit: 'MiB' },
    ],
    bars: [
      { label: "idle node's daemons (n1, all roles), MiB", measure: 'memory.n1', against: 150, atMost: 1 },
      { label: "idle node's daemons (n2), MiB", measure: 'memory.n2', against: 150, atMost: 1 },
    ],
    probes: [{
      ids: ['memory.n1', 'memory.n2'],
      run: async () => {
        found ??= await idle(await bench.grid(), bench.options.say)
        return found
      },
    }],
  }
}

async function idle(grid: Grid, say: (text: string) => void): Promise<Record<string, number>> {
  // Start-up garbage is not what an idle node holds.
  await new Promise((resolve) => { setTimeout(resolve, 5_000) })
  const total = (node: GridNode): number => {
    const processes = processesOf(grid.init(node))
    say(`exec: memory of ${node}: ${processes.map(({ name, pss_mib }) => `${name} ${pss_mib.toFixed(1)}`).join(', ')} MiB`)
    return processes.reduce((sum, { pss_mib }) => sum + pss_mib, 0)
  }
  return { 'memory.n1': total('n1'), 'memory.n2': total('n2') }
}

/** All processes in the pid namespace of `init` (and not in one nested in it). */
export function processesOf(init: number): ProcessMemory[] {
  const namespace = readlinkSync(`/proc/${init}/ns/pid`)
  return readdirSync('/proc').filter((entry) => /^\d+$/.test(entry)).flatMap((entry) => {
    try {
      if (readlinkSync(`/proc/${entry}/ns/pid`) !== namespace) return []
      const pss = /^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${entry}/smaps_rollup`, 'latin1'))
      const name = readFileSync(`/proc/${entry}/comm`, 'utf8').trim()
      return [{ pid: Number(entry), name, pss_mib: Number(pss?.[1] ?? 0) / 1024 }]
    } catch {
      return [] // it ended while we looked, or is a zombie without memory
    }
  })
}

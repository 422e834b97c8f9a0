import type { Bench } from '../bench.ts'
import type { Grid, GridNode } from '../grid.ts'
import type { Part } from '../part.ts'
import { alone, processesOf } from './processes.ts'

/** What an idle node's daemons hold, measured once, before the first login. */
export function memory(bench: Bench): Part {
  let found: Readonly<Record<string, number>> | undefined
  const ids = ['memory.n1', 'memory.n2', 'share.n1', 'share.n2']
  return {
    measures: [
      { id: 'memory.n1', label: 'daemons of idle n1 (registry, DIR, MRC, OSD), as if alone on the machine', unit: 'MiB' },
      { id: 'memory.n2', label: 'daemons of idle n2 (OSD), as if alone on the machine', unit: 'MiB' },
      { id: 'share.n1', label: 'daemons of idle n1, proportional share (PSS)', unit: 'MiB' },
      { id: 'share.n2', label: 'daemons of idle n2, proportional share (PSS)', unit: 'MiB' },
    ],
    bars: [
      { label: "idle node's daemons together (n1, all roles)", measure: 'memory.n1', against: 150, atMost: 1 },
      { label: "idle node's daemons together (n2)", measure: 'memory.n2', against: 150, atMost: 1 },
    ],
    probes: [{
      ids,
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
  const values: Record<string, number> = {}
  for (const node of ['n1', 'n2'] satisfies GridNode[]) {
    const processes = processesOf(grid.init(node))
    const daemons = processes.filter(({ name }) => name.startsWith('xos'))
    say(`exec: memory of ${node}: ${daemons.map((each) => `${each.name} ${alone([each]).toFixed(1)}`).join(', ')} MiB`)
    values[`memory.${node}`] = alone(processes)
    values[`share.${node}`] = processes.reduce((sum, { pss_mib }) => sum + pss_mib, 0)
  }
  return values
}

import { readFileSync, readdirSync, readlinkSync } from 'node:fs'
import type { Bench } from '../bench.ts'
import { gridNodes } from '../grid.ts'
import type { Part } from '../part.ts'
import type { Samples } from '../topic.ts'
import type { Places } from './index.ts'
import { processesOf } from './processes.ts'

/** Many short jobs from one shell under xargs -P4: jobs a second, errors, and what is left over afterwards. */
export function jobs(bench: Bench, places: Places, samples: Samples): Part {
  const count = bench.count(1_000, 200)
  const script = `seq ${count} | xargs -P4 -n1 true`
  return {
    measures: [
      { id: 'jobs.ours', label: `${count} jobs under xargs -P4, placed by the grid`, unit: '/s' },
      { id: 'jobs.local', label: 'the same, local, outside of a session', unit: '/s' },
      { id: 'jobs.slurm', label: 'the same, sbatch, until the last has ended', unit: '/s' },
      { id: 'jobs.errors', label: 'errors among the jobs', unit: 'count' },
      { id: 'left.descriptors', label: 'descriptors left over in the daemons', unit: 'count' },
      { id: 'left.processes', label: 'processes left over', unit: 'count' },
      { id: 'left.memory', label: 'memory left over in the daemons', unit: 'MiB' },
    ],
    bars: [
      { label: 'jobs a second, against Slurm', measure: 'jobs.ours', against: 'jobs.slurm', atLeast: 10 },
      { label: 'jobs a second, against local xargs', measure: 'jobs.ours', against: 'jobs.local', atLeast: 0.35 },
      { label: 'errors', measure: 'jobs.errors', against: 0, atMost: 0 },
      { label: 'descriptors left over', measure: 'left.descriptors', against: 0, atMost: 0 },
      { label: 'processes left over', measure: 'left.processes', against: 0, atMost: 0 },
      // The last ended jobs are listed for ten minutes: a thousand entries take their room.
      { label: 'memory left over', measure: 'left.memory', against: 4, atMost: 1 },
    ],
    probes: [
      {
        ids: ['jobs.local'],
        run: async () => {
          const { elapsed_ms } = await (await places.outside()).sh(script, { timeout_ms: 120_000 })
          return { 'jobs.local': count / elapsed_ms * 1_000 }
        },
      },
      {
        ids: ['jobs.ours', 'jobs.errors', 'left.descriptors', 'left.processes', 'left.memory'],
        run: async (round) => ours(bench, places, script, count, round, samples),
      },
      { ids: ['jobs.slurm'], run: async () => ({ 'jobs.slurm': await slurm(bench, places, bench.count(count, 60)) }) },
    ],
  }
}

const daemonNames: ReadonlySet<string> = new Set(['xosd', 'xos-relayd', 'xos-osd', 'xos-mrc', 'xos-mount'])

/** `open`: what each daemon has open, `node/daemon` with one line a descriptor. */
interface Held { readonly descriptors: number, readonly processes: number, readonly memory: number, readonly open: ReadonlyMap<string, readonly string[]> }

async function ours(bench: Bench, places: Places, script: string, count: number, round: number, samples: Samples): Promise<Record<string, number>> {
  const session = await places.session()
  // Links to nodes, warm cells and threads of the mount grow to what the load needs and stay: the first batch is not counted.
  if (round === 1) await session.sh(script, { timeout_ms: 300_000, mayFail: true })
  const before = await held(bench)
  const result = await session.sh(script, { timeout_ms: 300_000, mayFail: true })
  const complaints = result.stderr.trim().split('\n').filter((line) => line !== '')
  if (result.status !== 0) samples.notes.push(`jobs: xargs ended with status ${result.status}: ${complaints.slice(0, 3).join(' | ')}`)
  const after = await settled(bench, before)
  if (after.descriptors > before.descriptors) samples.notes.push(`jobs: descriptors left over: ${grown(before, after).join(', ')}`)
  return {
    'jobs.ours': count / result.elapsed_ms * 1_000,
    'jobs.errors': result.status === 0 ? 0 : Math.max(1, complaints.length),
    'left.descriptors': Math.max(0, after.descriptors - before.descriptors),
    'left.processes': Math.max(0, after.processes - before.processes),
    'left.memory': Math.max(0, after.memory - before.memory),
  }
}

/** What the nodes hold some seconds after the last job, or as soon as it is no more than before. */
async function settled(bench: Bench, before: Held): Promise<Held> {
  for (let attempt = 0; ; attempt++) {
    const now = await held(bench)
    if (attempt === 10 || (now.descriptors <= before.descriptors && now.processes <= before.processes)) return now
    await new Promise((resolve) => { setTimeout(resolve, 500) })
  }
}

async function held(bench: Bench): Promise<Held> {
  const grid = await bench.grid()
  const processes = gridNodes.flatMap((node) => processesOf(grid.init(node)).map((process) => ({ ...process, node })))
  const daemons = processes.filter(({ name }) => daemonNames.has(name))
  const open = new Map(daemons.map(({ node, name, pid }) => [`${node}/${name}`, descriptorsOf(pid)]))
  return {
    open,
    descriptors: daemons.reduce((sum, { node, name, pid }) => sum + (open.get(`${node}/${name}`)?.length ?? 0) - cellsOf(pid) * descriptorsPerCell, 0),
    processes: processes.length,
    memory: daemons.reduce((sum, { pss_mib }) => sum + pss_mib, 0),
  }
}

/** A relay keeps up to eight idle cells of a user for a minute; each is a process descriptor and a socket. They are no leak. */
const descriptorsPerCell = 2

function cellsOf(pid: number): number {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')
    return children.filter((child) => readFileSync(`/proc/${child}/comm`, 'utf8').trim() === 'xos-cell').length
  } catch {
    return 0
  }
}

function descriptorsOf(pid: number): string[] {
  return entries(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return [readlinkSync(fd)]
    } catch {
      return []  // closed meanwhile
    }
  })
}

function entries(directory: string): string[] {
  try {
    return readdirSync(directory).map((name) => `${directory}/${name}`)
  } catch {
    return []
  }
}

/** What is open after and was not before, for whoever looks for the leak. */
function grown(before: Held, after: Held): string[] {
  return [...after.open].flatMap(([daemon, descriptors]) => {
    const known = new Set(before.open.get(daemon))
    return descriptors.filter((target) => !known.has(target)).map((target) => `${daemon} ${target}`)
  })
}

/** From the first submission until nothing is queued or running; returns jobs a second. */
async function slurm(bench: Bench, places: Places, count: number): Promise<number> {
  await places.slurm()
  const pen = await bench.pen()
  await pen.write('/usr/local/bin/bench-job', '#!/bin/sh\ntrue\n', '755')
  const { elapsed_ms } = await pen.sh(`cd /tmp
    seq ${count} | xargs -P4 -n1 sbatch -Q -o /dev/null /usr/local/bin/bench-job > /dev/null
    while [ -n "$(squeue -h)" ]; do sleep 0.05; done`, { timeout_ms: 600_000 })
  return count / elapsed_ms * 1_000
}

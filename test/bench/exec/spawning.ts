import type { Bench } from '../bench.ts'
import { sshCommand } from '../anchors/ssh.ts'
import { type Part, field, probe } from '../part.ts'
import { median } from '../statistics.ts'
import type { Places } from './index.ts'

/** One `true`, started in every way; medians of posix_spawn to waitpid. */
export function spawning(bench: Bench, places: Places): Part {
  const many = bench.count(400, 100)
  const few = bench.count(100, 20)
  const timed = (count: number, command: string, options = ''): string => `bench-spawn --count ${count} ${options} -- ${command}`
  return {
    measures: [
      { id: 'spawn.local', label: 'local posix_spawn of true', unit: 'ms' },
      { id: 'spawn.remote', label: "'true' typed in a session, run on n2", unit: 'ms' },
      { id: 'spawn.ssh', label: 'ssh with ControlMaster', unit: 'ms' },
      { id: 'spawn.srun', label: 'Slurm srun -n1', unit: 'ms' },
      { id: 'spawn.anchors', label: "local, in the anchors' root", unit: 'ms' },
      { id: 'marked.inside', label: "program that stays local ('pwd'), in a session", unit: 'ms' },
      { id: 'marked.outside', label: 'the same outside of a session', unit: 'ms' },
    ],
    bars: [
      { label: 'typed name on another node, against local spawn', measure: 'spawn.remote', against: 'spawn.local', atMost: 4 },
      { label: '… against ssh with ControlMaster', measure: 'spawn.remote', against: 'spawn.ssh', atMost: 0.4 },
      { label: '… against srun', measure: 'spawn.remote', against: 'spawn.srun', atMost: 0.12 },
      { label: 'program that stays local, in a session against outside', measure: 'marked.inside', against: 'marked.outside', atMost: 1.05 },
    ],
    probes: [
      probe('spawn.local', async () => field(await places.outside(), timed(many, 'true'), 'p50_ms')),
      probe('spawn.remote', async () => field(await places.session(), timed(many, 'true', '--set XOS_NODE=n2'), 'p50_ms')),
      probe('spawn.ssh', async () => {
        await places.ssh()
        return field(await bench.pen(), timed(few, `${sshCommand.join(' ')} /bin/true`), 'p50_ms')
      }),
      probe('spawn.srun', async () => {
        await places.slurm()
        return field(await bench.pen(), timed(bench.count(40, 10), 'srun -n1 -w n2 /bin/true'), 'p50_ms')
      }),
      probe('spawn.anchors', async () => field(await bench.pen(), timed(many, '/bin/true'), 'p50_ms')),
      {
        ids: ['marked.inside', 'marked.outside'],
        run: async () => markedInTurn(places, timed(many, 'pwd')),
      },
    ],
  }
}

/** A difference of a few hundredths needs turns shorter than the machine's moods: five short ones inside and outside. */
async function markedInTurn(places: Places, script: string): Promise<Record<string, number>> {
  const inside: number[] = []
  const outside: number[] = []
  for (let turn = 0; turn < 5; turn++) {
    inside.push(await field(await places.session(), script, 'p50_ms'))
    outside.push(await field(await places.outside(), script, 'p50_ms'))
  }
  return { 'marked.inside': median(inside), 'marked.outside': median(outside) }
}

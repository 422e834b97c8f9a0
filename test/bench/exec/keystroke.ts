import type { Bench } from '../bench.ts'
import { sshCommand } from '../anchors/ssh.ts'
import { type Part, field, probe } from '../part.ts'
import type { Places } from './index.ts'

/** One key, from the write to a terminal's master to the echo of a cat on another node. */
export function keystroke(bench: Bench, places: Places): Part {
  const count = bench.count(400, 100)
  return {
    measures: [
      { id: 'key.ours', label: 'keystroke echoed by cat on n2', unit: 'ms' },
      { id: 'key.ssh', label: 'keystroke echoed by cat over ssh -tt', unit: 'ms' },
    ],
    bars: [{ label: 'keystroke echo, against ssh', measure: 'key.ours', against: 'key.ssh', atMost: 1.3 }],
    probes: [
      // cat is marked local, so that it is sent by hand.
      probe('key.ours', async () => field(await places.session(), `bench-keystroke --count ${count} -- xrun --node n2 cat`, 'p50_ms')),
      probe('key.ssh', async () => {
        await places.ssh()
        const [ssh, ...others] = sshCommand
        return field(await bench.pen(), `bench-keystroke --count ${count} -- ${ssh} -tt ${others.join(' ')} cat`, 'p50_ms')
      }),
    ],
  }
}

// What a VO keeps of a machine beside another one at its worst: fork bomb, memory hog and disk hog at once (test/system/isolation/neighbours.ts), in a guest.

import { harm, letLoose, ordinaryLife, share, stillAtIt, throughput } from '../../system/isolation/neighbours.ts'
import { bootVoGuest } from '../../system/isolation/vo-guest.ts'
import type { Bench } from '../bench.ts'
import type { Probe, Samples, Topic } from '../topic.ts'

export async function isolationTopic(bench: Bench, _samples: Samples): Promise<Topic> {
  const seconds = bench.count(20, 5)
  const probe: Probe = { ids: ['alone', 'equal', 'ninth', 'failed'], run: () => measure(bench, seconds) }
  const beside = (id: string, weights: string): Topic['measures'][number] => ({ id, label: `VO b's work beside fork bomb, memory hog and disk hog of VO a, weights ${weights}`, unit: '/s' })
  return {
    name: 'isolation',
    measures: [
      { id: 'alone', label: "VO b's work alone, one job a processor", unit: '/s' }, beside('equal', '1:1'), beside('ninth', '1:9'),
      { id: 'failed', label: 'of programs, memory and files of VO b beside them: what failed', unit: 'count' },
    ],
    bars: [
      { label: 'throughput beside the three, equal weights', measure: 'equal', against: 'alone', atLeast: 0.45 },
      { label: 'throughput beside the three, weights 1:9', measure: 'ninth', against: 'alone', atLeast: 0.85 },
      { label: 'failures', measure: 'failed', against: 1, atMost: 0 },
    ],
    probes: [probe],
  }
}

/** A guest of its own for each round: what a hog leaves behind must not be the next round's. */
async function measure (bench: Bench, seconds: number): Promise<Record<string, number>> {
  const { cleanup, say, signal } = bench.options
  const releases: (() => Promise<void>)[] = []
  const vo = await bootVoGuest({ teardown: (end) => void releases.push(cleanup.add('the guest', async () => { await end() })), log: say }, { counted: true })
  const stop = new AbortController()
  try {
    await vo.limit('a', share)
    await vo.limit('b', share)
    const alone = await throughput(vo, seconds)
    say('letting VO a loose')
    const over = AbortSignal.any([signal, stop.signal])
    await letLoose(vo, over)
    const beside = async (): Promise<number> => {
      const before = await harm(vo)
      const counted = await throughput(vo, seconds)
      await stillAtIt(vo, before, over)
      return counted
    }
    const equal = await beside()
    await vo.limit('b', { ...share, 'cpu.weight': '900' })
    const ninth = await beside()
    const failed = await ordinaryLife(vo, seconds / 2).then(() => 0, (thrown: unknown) => (say(String(thrown)), 1))
    return { alone, equal, ninth, failed }
  } finally {
    stop.abort()
    for (const release of releases.reverse()) await release()
  }
}

// The overlay in the simulator: the bars of membership, RSS and the simulator itself. Counts are the same for a seed; only memory and CPU time vary.

import type { CycleRow } from '../../../src/sim/run.ts'
import type { Bench } from '../bench.ts'
import { type Part, topicOf } from '../part.ts'
import type { Topic } from '../topic.ts'
import { type Simulation, simulate } from './simulation.ts'

const seed = 7

/** The cycles at the end of a run, in which nothing grows any more. */
const settled = <T>(list: readonly T[]): readonly T[] => list.slice(-3)
const mean = <T>(list: readonly T[], value: (item: T) => number): number => list.reduce((sum, item) => sum + value(item), 0) / list.length
const bytesOf = ({ result }: Simulation): number => mean(settled(result.cycles), (row) => row.bytes)
const asking = ({ result }: Simulation): readonly CycleRow[] => result.cycles.filter((row) => row.some !== null)
const messagesOf = (run: Simulation): number => mean(asking(run), (row) => row.some!.messages)
const walking = ({ result }: Simulation): readonly CycleRow[] => result.cycles.filter((row) => row.all !== null && row.all.ended > 0)
const shareOf = (run: Simulation): number => mean(walking(run), (row) => row.all!.share)

function scale(bench: Bench): Part {
  const { signal, quick } = bench.options
  const many = quick ? 100_000 : 1_000_000
  return {
    measures: [
      { id: 'memory', label: `process memory a node, ${many.toLocaleString('en')} nodes`, unit: 'B' },
      { id: 'cpu', label: 'CPU time of a 10 s cycle for 10^6 nodes', unit: 's' },
      { id: 'bytes-few', label: 'bytes a node sends in a cycle, 1,000 nodes', unit: 'B' },
      { id: 'bytes-many', label: `bytes a node sends in a cycle, ${many.toLocaleString('en')} nodes`, unit: 'B' },
    ],
    bars: [
      // The process itself takes some 60 MB: with fewer nodes there is no saying what each of them costs.
      ...(quick ? [] : [{ label: 'memory a node at 10^6', measure: 'memory', against: 700, atMost: 1 }]),
      { label: 'CPU time of a cycle', measure: 'cpu', against: 15, atMost: 1 },
      { label: 'traffic of many nodes against few', measure: 'bytes-many', against: 'bytes-few', atMost: 1.1, atLeast: 0.9 },
    ],
    probes: [{
      ids: ['memory', 'cpu', 'bytes-few', 'bytes-many'],
      run: async () => {
        const large = await simulate('scale', many, { seed, signal })
        const small = await simulate('scale', 1_000, { seed, signal })
        return {
          memory: Math.max(...large.spent.map(({ memory_bytes }) => memory_bytes)) / many,
          cpu: mean(settled(large.spent), ({ cpu_seconds }) => cpu_seconds) * (1e6 / many), 'bytes-few': bytesOf(small), 'bytes-many': bytesOf(large),
        }
      },
    }],
  }
}

function queries(bench: Bench): Part {
  const { signal, quick } = bench.options
  const nodes = quick ? 10_000 : 100_000
  const size = nodes.toLocaleString('en')
  return {
    measures: [
      { id: 'slots', label: `routing slots live at cycle 20, ${size} nodes`, unit: 'count' },
      { id: 'messages', label: `messages of a query for 50 nodes, ${size} nodes`, unit: 'count' },
      { id: 'strangers', label: 'nodes asked that do not match', unit: 'count' },
      { id: 'all', label: 'share of the matches that an exhaustive query finds', unit: 'count' },
    ],
    bars: [
      { label: 'routing slots live within 20 cycles', measure: 'slots', against: 0.999, atLeast: 1 },
      // With 10^4 nodes tables have fewer links that match: the bar is for 10^5.
      ...(quick ? [] : [{ label: 'messages of a query for 50 nodes', measure: 'messages', against: 13, atMost: 1 }]),
      { label: 'nodes asked that do not match', measure: 'strangers', against: 5, atMost: 1 },
      { label: 'exhaustive query without churn', measure: 'all', against: 0.995, atLeast: 1 },
    ],
    probes: [{
      ids: ['slots', 'messages', 'strangers', 'all'],
      run: async () => {
        const settle = await simulate('settle', nodes, { seed, cycles: 20, signal })
        const query = await simulate('query', nodes, { seed, cycles: 20, signal })
        return { slots: settle.result.cycles.at(-1)!.live!, messages: messagesOf(query), strangers: mean(asking(query), (row) => row.some!.strangers), all: shareOf(query) }
      },
    }],
  }
}

function trouble(bench: Bench): Part {
  const { signal } = bench.options
  const nodes = bench.count(10_000, 2_000)
  const size = nodes.toLocaleString('en')
  return {
    measures: [
      { id: 'churn', label: `exhaustive query at 0.2 % churn a cycle, ${size} nodes: share of the matches`, unit: 'count' },
      { id: 'storm', label: 'the same at 1 %', unit: 'count' },
      { id: 'even', label: 'messages of a query for 50 nodes, uniform attributes', unit: 'count' },
      { id: 'skew', label: 'the same, nine nodes of ten in a tenth of each attribute', unit: 'count' },
      { id: 'connected', label: 'half of all killed: the rest that is connected', unit: 'count' },
      { id: 'full', label: 'half of all killed: queries complete within 5 cycles', unit: 'count' },
    ],
    bars: [
      { label: 'exhaustive query at 0.2 % churn', measure: 'churn', against: 0.99, atLeast: 1 },
      { label: 'exhaustive query at 1 % churn', measure: 'storm', against: 0.95, atLeast: 1 },
      { label: 'messages with skewed attributes', measure: 'skew', against: 'even', atMost: 2 },
      { label: 'half killed: connected', measure: 'connected', against: 1, atLeast: 1 },
      { label: 'half killed: queries complete', measure: 'full', against: 0.95, atLeast: 1 },
    ],
    probes: [{
      ids: ['churn', 'storm', 'even', 'skew', 'connected', 'full'],
      run: async () => {
        const run = (scenario: string): Promise<Simulation> => simulate(scenario, nodes, { seed, signal })
        const [churn, storm, even, skew, half] = [await run('churn'), await run('storm'), await run('query'), await run('skew'), await run('half')]
        const after = half.result.cycles.filter((row) => row.cycle >= 18 && row.cycle < 23)
        return {
          churn: shareOf(churn), storm: shareOf(storm), even: messagesOf(even), skew: messagesOf(skew),
          connected: Math.min(...after.map((row) => row.connected!)), full: mean(after, (row) => row.some!.full / row.some!.begun),
        }
      },
    }],
  }
}

/** Runs without the grid and without anchors: the bars are numbers of the issue. */
export async function overlayTopic(bench: Bench): Promise<Topic> {
  return topicOf('overlay', [scale(bench), queries(bench), trouble(bench)])
}

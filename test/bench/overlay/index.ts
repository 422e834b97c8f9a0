// The overlay in the simulator: the bars of membership, RSS and the simulator itself. Counts are the same for a seed; only memory and CPU time vary.

import type { CycleRow } from '../../../src/sim/run.ts'
import type { Bench } from '../bench.ts'
import { type Part, topicOf } from '../part.ts'
import type { Topic } from '../topic.ts'
import { realPart } from './real.ts'
import { type Simulation, simulate, totalsOf } from './simulation.ts'

const seed = 7

/** The cycles at the end of a run in which nothing grows any more and nobody asks anything. */
const settled = <T>({ result }: Simulation, list: readonly T[]): readonly T[] => list.filter((_, at) => result.cycles[at]?.some === null).slice(-3)
const mean = <T>(list: readonly T[], value: (item: T) => number): number => list.reduce((sum, item) => sum + value(item), 0) / list.length
const bytesOf = (run: Simulation): number => mean(settled(run, run.result.cycles), (row) => row.bytes)
const asking = ({ result }: Simulation): readonly CycleRow[] => result.cycles.filter((row) => row.some !== null)
const messagesOf = (run: Simulation): number => mean(asking(run), (row) => row.some!.messages)
const strangersOf = (run: Simulation): number => mean(asking(run), (row) => row.some!.strangers)
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
      { id: 'many-messages', label: `messages of a query for 50 nodes, ${many.toLocaleString('en')} nodes`, unit: 'count' },
      { id: 'many-strangers', label: 'nodes asked that do not match', unit: 'count' },
    ],
    bars: [
      // The process itself takes some 60 MB: with fewer nodes there is no saying what each of them costs.
      ...(quick ? [] : [{ label: 'memory a node at 10^6', measure: 'memory', against: 700, atMost: 1 }]),
      { label: 'CPU time of a cycle', measure: 'cpu', against: 15, atMost: 1 },
      { label: 'traffic of many nodes against few', measure: 'bytes-many', against: 'bytes-few', atMost: 1.1, atLeast: 0.9 },
      { label: `messages of a query, ${many.toLocaleString('en')} nodes`, measure: 'many-messages', against: 13, atMost: 1 },
      { label: `others asked, ${many.toLocaleString('en')} nodes`, measure: 'many-strangers', against: 5, atMost: 1 },
    ],
    probes: [{
      ids: ['memory', 'cpu', 'bytes-few', 'bytes-many', 'many-messages', 'many-strangers'],
      run: async () => {
        const large = await simulate('scale', many, { seed, signal })
        const small = await simulate('scale', 1_000, { seed, signal })
        return {
          // At the end: in the first cycles the collector has not yet taken what joining left.
          memory: large.spent.at(-1)!.memory_bytes / many, 'many-messages': messagesOf(large), 'many-strangers': strangersOf(large),
          cpu: mean(settled(large, large.spent), ({ cpu_seconds }) => cpu_seconds) * (1e6 / many), 'bytes-few': bytesOf(small), 'bytes-many': bytesOf(large),
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
        return { slots: settle.result.cycles.at(-1)!.live!, messages: messagesOf(query), strangers: strangersOf(query), all: shareOf(query) }
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

function others(bench: Bench): Part {
  const { signal } = bench.options
  const [subscribers, members, keys] = [bench.count(10_000, 1_000), bench.count(16_384, 1_024), bench.count(20_000, 2_000)]
  const size = (count: number): string => count.toLocaleString('en')
  const rounds = { ring: 20, torus: 20, tree: 25 } as const
  const found = (totals: Readonly<Record<string, number | null>>, name: string): number => totals[name] ?? Number.POSITIVE_INFINITY
  return {
    measures: [
      { id: 'delivered', label: `topic with ${size(subscribers)} subscribers: delivered`, unit: 'count' },
      { id: 'redundancy', label: 'the same: redundancy', unit: 'count' },
      { id: 'delivered-after', label: 'the next 10 messages after 80 % died: delivered', unit: 'count' },
      { id: 'redundancy-after', label: 'the same: redundancy', unit: 'count' },
      ...Object.keys(rounds).map((shape) => ({ id: shape, label: `rounds until a ${shape} of ${size(members)} is perfect`, unit: 'count' as const })),
      { id: 'look-ups', label: `DHT look-ups that are right at 1 % churn a cycle, ${size(keys)} nodes`, unit: 'count' },
    ],
    bars: [
      { label: 'broadcast delivered', measure: 'delivered', against: 1, atLeast: 1 },
      { label: 'redundancy of a broadcast', measure: 'redundancy', against: 0.4, atMost: 1 },
      { label: 'delivered after 80 % died', measure: 'delivered-after', against: 0.999, atLeast: 1 },
      { label: 'redundancy after 80 % died', measure: 'redundancy-after', against: 0.4, atMost: 1 },
      ...Object.entries(rounds).map(([shape, most]) => ({ label: `perfect ${shape} of ${size(members)}`, measure: shape, against: most, atMost: 1 })),
      { label: 'DHT look-ups', measure: 'look-ups', against: 0.999, atLeast: 1 },
    ],
    probes: [
      {
        ids: ['delivered', 'redundancy', 'delivered-after', 'redundancy-after'],
        run: async () => {
          const totals = await totalsOf('topics', subscribers, { seed, signal })
          return { delivered: found(totals, 'delivered'), redundancy: found(totals, 'redundancy'), 'delivered-after': found(totals, 'delivered_after'), 'redundancy-after': found(totals, 'redundancy_after') }
        },
      },
      { ids: Object.keys(rounds), run: async () => await totalsOf('shapes', members, { seed, signal }) as Record<string, number> },
      { ids: ['look-ups'], run: async () => ({ 'look-ups': found(await totalsOf('dht', keys, { seed, signal }), 'right') }) },
    ],
  }
}

/** Runs without the grid and without anchors: the bars are numbers of the issue. */
export async function overlayTopic(bench: Bench): Promise<Topic> {
  return topicOf('overlay', [scale(bench), queries(bench), trouble(bench), others(bench), realPart(bench)])
}

// Real overlays as processes beside the simulator, and what they cost. Times mean something on a quiet machine only.

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { compare, settle, warm, type Comparison } from '../../overlay/service/compare.ts'
import { Fleet } from '../../overlay/service/fleet.ts'
import { testVo } from '../../vo/authority.ts'
import type { Soaked } from '../../overlay/service/soak.ts'
import type { Bench } from '../bench.ts'
import type { Part } from '../part.ts'

const seed = 5
const loopback_port = 23_000
/** In its first eight cycles a node exchanges twice as much as later, and those that joined first are in more views. */
const young_cycles = 9
const few = 5

const execute = promisify(execFile)
const soak = new URL('../../overlay/service/soak.ts', import.meta.url).pathname

/** In a process of its own: its heap is what is looked at. */
async function soaked({ options: { signal } }: Bench, seconds: number): Promise<Soaked> {
  const { stdout } = await execute(process.execPath, ['--disable-warning=ExperimentalWarning', soak, String(seconds)], { signal })
  return JSON.parse(stdout) as Soaked
}

async function measure(bench: Bench, count: number, loopback: boolean): Promise<Comparison> {
  const { signal, cleanup } = bench.options
  const fleet = await Fleet.up({ vo: await testVo(), count, loopback, port: loopback ? loopback_port : 7_001, signal })
  cleanup.add('the processes of the overlay', () => fleet.down())
  try {
    const many = count > few
    // With hundreds of processes on two processors one message keeps them busy for a while.
    const pause_ms = many ? 500 : 15
    // Not many: a tree that is made while the mesh still grows stays deeper than the simulator's, where nobody publishes before it stands.
    if (!many) await warm(fleet, 600, pause_ms, signal)
    await settle(fleet, young_cycles, signal)
    return await compare(fleet, { warm: many ? 360 : 0, messages: many ? 40 : 200, pause_ms, idle_ms: many ? 20_000 : 60_000, seed, signal })
  } finally {
    await fleet.down()
  }
}

export function realPart(bench: Bench): Part {
  const count = bench.count(200, 20)
  const minutes = bench.count(60, 30)
  const within = { atMost: 1.1, atLeast: 0.9 } as const
  const pairs = [['links', 'links of a node'], ['view', 'peers in a view'], ['deviation', 'deviation of the in-degree'], ['hops', 'hops of a message']] as const
  return {
    measures: [
      ...pairs.flatMap(([id, label]) => [
        { id: `real-${id}`, label: `${label}, ${count} processes`, unit: 'count' as const }, { id: `simulated-${id}`, label: `${label}, simulated`, unit: 'count' as const },
      ]),
      { id: 'spread', label: 'how uneven links are there, which the simulated ones are as well', unit: 'count' },
      { id: 'real-delivered', label: `messages delivered, ${count} processes`, unit: 'count' },
      { id: 'idle', label: 'CPU of an idle node, per cent of a core', unit: 'count' },
      { id: 'deliver', label: 'publish to deliver over one link, loopback', unit: 'ms' },
      { id: 'growth', label: `memory at the end of ${minutes} minutes in as many seconds, against that after fifteen`, unit: 'count' },
    ],
    bars: [
      ...pairs.map(([id, label]) => ({ label: `${label}: processes against simulated`, measure: `real-${id}`, against: `simulated-${id}`, ...within })),
      { label: 'messages delivered to processes', measure: 'real-delivered', against: 1, atLeast: 1 },
      { label: 'CPU of an idle node', measure: 'idle', against: 0.2, atMost: 1 },
      { label: 'publish to deliver', measure: 'deliver', against: 3, atMost: 1 },
      { label: 'heap after the soak', measure: 'growth', against: 1, atMost: 1.05 },
    ],
    probes: [
      {
        ids: [...pairs.flatMap(([id]) => [`real-${id}`, `simulated-${id}`]), 'real-delivered', 'spread'],
        run: async () => {
          const { real, simulated, spread } = await measure(bench, count, false)
          return { ...Object.fromEntries(pairs.flatMap(([id]) => [[`real-${id}`, real[id]], [`simulated-${id}`, simulated[id]]])), 'real-delivered': real.delivered, spread }
        },
      },
      {
        ids: ['idle', 'deliver'],
        run: async () => {
          const { idle_share, link_ms } = await measure(bench, few, true)
          return { idle: 100 * idle_share, deliver: link_ms }
        },
      },
      { ids: ['growth'], run: async () => ({ growth: 1 + (await soaked(bench, minutes)).growth }) },
    ],
  }
}

// Python processes of four kinds: xcheckpoint and xrestart against bare criu dump and restore, images in the home volume in both cases.

import { readFile } from 'node:fs/promises'
import type { Bench } from '../bench.ts'
import { once } from '../once.ts'
import { topicOf } from '../part.ts'
import type { Bar } from '../statistics.ts'
import type { Measure, Probe, Samples, Topic } from '../topic.ts'
import { criuSubject } from './criu.ts'
import { gridSubject } from './ours.ts'
import { type Load, type Subject, directory, volume } from './subject.ts'

/** What is dumped while it runs on. `still` and `total` are the bars of issue 5 against CRIU. */
interface Kind { readonly id: string, readonly label: string, readonly load: Load, readonly still: number, readonly total: number | null }

export async function checkpointTopic(bench: Bench, _samples: Samples): Promise<Topic> {
  const { cleanup, say } = bench.options
  const mib = bench.count(256, 64)
  const kinds: readonly Kind[] = [
    { id: 'large', label: `${bench.count(1024, 128)} MiB python`, load: { mib: bench.count(1024, 128), threads: 1, processes: 1 }, still: 0.15, total: 1.5 },
    { id: 'threads', label: '65 threads, 256 MiB', load: { mib: 256, threads: 65, processes: 1 }, still: 0.3, total: null },
    { id: 'small', label: '16 MiB python', load: { mib: 16, threads: 1, processes: 1 }, still: 1.05, total: 1.1 },
    { id: 'tree', label: '22 processes', load: { mib: 8, threads: 1, processes: 22 }, still: 1.05, total: 1.1 },
  ]
  const session = once(async () => {
    const grid = await bench.grid()
    const shell = await grid.session('n1')
    cleanup.add('a session', () => shell.close())
    cleanup.add('what was checkpointed', async () => {
      for (const subject of subjects) await subject.end()
      await grid.root('n2', `rm -rf ${volume}/${directory}`)
    })
    const program = await readFile(new URL('../programs/heartbeat.py', import.meta.url), 'utf8')
    // What criu left there belongs to root.
    await grid.root('n2', `rm -rf ${volume}/${directory}`)
    await shell.sh(`mkdir -p ~/${directory}/ours ~/${directory}/criu; chmod 777 ~/${directory} ~/${directory}/*
cat > ~/${directory}/heartbeat.py << 'END-OF-PROGRAM'
${program}
END-OF-PROGRAM`)
    return shell
  })
  const pair = (load: Load): { ours: Subject, criu: Subject } =>
    ({ ours: gridSubject(session, load), criu: criuSubject(async () => { await session(); return bench.grid() }, load) })
  const whole = pair({ mib, threads: 1, processes: 1 })
  const live = kinds.map((kind) => ({ kind, pair: pair(kind.load) }))
  const subjects = [whole, ...live.map((each) => each.pair)].flatMap(({ ours, criu }) => [ours, criu])
  say('checkpoint: starting the grid')
  await session().catch(() => {})
  return {
    ...topicOf('checkpoint', []),
    measures: [
      { id: 'dump.ours', label: `xcheckpoint of ${mib} MiB python`, unit: 'ms' },
      { id: 'dump.criu', label: 'bare criu dump', unit: 'ms' },
      { id: 'restore.ours', label: 'xrestart', unit: 'ms' },
      { id: 'restore.criu', label: 'bare criu restore', unit: 'ms' },
      ...kinds.flatMap(measuresOf),
    ],
    bars: [
      { label: 'xcheckpoint in all, against criu dump', measure: 'dump.ours', against: 'dump.criu', atMost: 1.3 },
      { label: 'xrestart in all, against criu restore', measure: 'restore.ours', against: 'restore.criu', atMost: 1.3 },
      ...kinds.flatMap(barsOf),
    ],
    probes: [
      act(whole.ours, (subject) => subject.start()),
      act(whole.criu, (subject) => subject.start()),
      step(['dump.ours'], whole.ours, async (subject) => [await subject.dump()]),
      step(['dump.criu'], whole.criu, async (subject) => [await subject.dump()]),
      step(['restore.ours'], whole.ours, async (subject) => [await subject.restore()]),
      step(['restore.criu'], whole.criu, async (subject) => [await subject.restore()]),
      act(whole.ours, (subject) => subject.end()),
      act(whole.criu, (subject) => subject.end()),
      ...live.flatMap(({ kind, pair }) => [liveProbe(kind, 'ours', pair.ours), liveProbe(kind, 'criu', pair.criu)]),
    ],
  }
}

const measuresOf = ({ id, label }: Kind): readonly Measure[] => (['ours', 'criu'] as const).flatMap((whose) => {
  const how = `${label}, ${whose === 'ours' ? 'xcheckpoint' : 'criu dump'} --leave-running`
  return [
    { id: `${id}.still.${whose}`, label: `${how}: standstill`, unit: 'ms' },
    { id: `${id}.total.${whose}`, label: `${how}: in all`, unit: 'ms' },
    { id: `${id}.bytes.${whose}`, label: `${how}: stored`, unit: 'MiB' },
  ] as const
})

const barsOf = ({ id, label, still, total }: Kind): readonly Bar[] => [
  { label: `${label}: standstill, against criu`, measure: `${id}.still.ours`, against: `${id}.still.criu`, atMost: still },
  ...(total === null ? [] : [{ label: `${label}: in all, against criu`, measure: `${id}.total.ours`, against: `${id}.total.criu`, atMost: total }]),
  { label: `${label}: stored, against criu`, measure: `${id}.bytes.ours`, against: `${id}.bytes.criu`, atMost: 1.01 },
]

/** One process at a time, from its start to its end: the other one's heartbeat would disturb it. */
const liveProbe = ({ id }: Kind, whose: string, subject: Subject): Probe =>
  step(['still', 'total', 'bytes'].map((what) => `${id}.${what}.${whose}`), subject, async () => {
    await subject.start()
    const { still_ms, total_ms, bytes } = await subject.live()
    await subject.end()
    return [still_ms, total_ms, bytes / 2 ** 20]
  })

const act = (subject: Subject, what: (subject: Subject) => Promise<void>): Probe => step([], subject, async () => { await what(subject); return [] })

/** A step that fails ends the subject: the later ones then say what was missing, and the next round starts afresh. */
function step(ids: readonly string[], subject: Subject, measure: (subject: Subject) => Promise<readonly number[]>): Probe {
  return {
    ids,
    run: async () => {
      try {
        const values = await measure(subject)
        return Object.fromEntries(ids.map((id, at) => [id, values[at] ?? Number.NaN]))
      } catch (error) {
        await subject.end().catch(() => {})
        throw error
      }
    },
  }
}

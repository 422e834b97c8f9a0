// A python process of 256 MiB: xcheckpoint and xrestart against bare criu dump and restore, images in the home volume in both cases.

import { readFile } from 'node:fs/promises'
import type { Bench } from '../bench.ts'
import { once } from '../once.ts'
import { topicOf } from '../part.ts'
import type { Probe, Samples, Topic } from '../topic.ts'
import { criuSubject } from './criu.ts'
import { gridSubject } from './ours.ts'
import { type Subject, directory, volume } from './subject.ts'

export async function checkpointTopic(bench: Bench, _samples: Samples): Promise<Topic> {
  const { cleanup, say } = bench.options
  const mib = bench.count(256, 64)
  const session = once(async () => {
    const grid = await bench.grid()
    const shell = await grid.session('n1')
    cleanup.add('a session', () => shell.close())
    cleanup.add('what was checkpointed', async () => {
      await ours.end()
      await criu.end()
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
  const ours = gridSubject(session, mib)
  const criu = criuSubject(async () => { await session(); return bench.grid() }, mib)
  say('checkpoint: starting the grid')
  await session().catch(() => {})
  return {
    ...topicOf('checkpoint', []),
    measures: [
      { id: 'dump.ours', label: `xcheckpoint of ${mib} MiB python`, unit: 'ms' },
      { id: 'dump.criu', label: 'bare criu dump', unit: 'ms' },
      { id: 'restore.ours', label: 'xrestart', unit: 'ms' },
      { id: 'restore.criu', label: 'bare criu restore', unit: 'ms' },
      { id: 'still.ours', label: 'standstill during xcheckpoint --leave-running', unit: 'ms' },
      { id: 'still.criu', label: 'standstill during criu dump --leave-running', unit: 'ms' },
    ],
    bars: [
      { label: 'xcheckpoint in all, against criu dump', measure: 'dump.ours', against: 'dump.criu', atMost: 1.3 },
      { label: 'xrestart in all, against criu restore', measure: 'restore.ours', against: 'restore.criu', atMost: 1.3 },
    ],
    probes: [
      step([], ours, async () => { await ours.start(); return 0 }),
      step([], criu, async () => { await criu.start(); return 0 }),
      step(['still.ours'], ours, () => ours.live()),
      step(['still.criu'], criu, () => criu.live()),
      step(['dump.ours'], ours, () => ours.dump()),
      step(['dump.criu'], criu, () => criu.dump()),
      step(['restore.ours'], ours, () => ours.restore()),
      step(['restore.criu'], criu, () => criu.restore()),
      step([], ours, async () => { await ours.end(); return 0 }),
      step([], criu, async () => { await criu.end(); return 0 }),
    ],
  }
}

/** A step that fails ends the subject: the later ones then say what was missing, and the next round starts afresh. */
function step(ids: readonly string[], subject: Subject, act: () => Promise<number>): Probe {
  return {
    ids,
    run: async () => {
      try {
        const value = await act()
        return Object.fromEntries(ids.map((id) => [id, value]))
      } catch (error) {
        await subject.end().catch(() => {})
        throw error
      }
    },
  }
}

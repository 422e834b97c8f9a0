import type { Bench } from '../bench.ts'
import { type Shell, lasting } from '../shell.ts'
import { startSlurm } from '../anchors/slurm.ts'
import { startSsh } from '../anchors/ssh.ts'
import { reason } from '../errors.ts'
import { once } from '../once.ts'
import { topicOf } from '../part.ts'
import type { Samples, Topic } from '../topic.ts'
import { compile } from './compile.ts'
import { jobs } from './jobs.ts'
import { keystroke } from './keystroke.ts'
import { memory } from './memory.ts'
import { spawning } from './spawning.ts'

/** What the parts run on. Each is started on first use; when that fails, all that need it say why. */
export interface Places {
  /** A session of alice on n1. */
  readonly session: () => Promise<Shell>
  /** Root of n1, outside of all sessions. */
  readonly outside: () => Promise<Shell>
  readonly ssh: () => Promise<void>
  readonly slurm: () => Promise<void>
}

export async function execTopic(bench: Bench, samples: Samples): Promise<Topic> {
  const { cleanup, say } = bench.options
  const opened = async (shell: Promise<Shell>): Promise<Shell> => {
    const got = await shell
    cleanup.add('a session', () => got.close())
    return got
  }
  const places: Places = {
    session: lasting(async () => opened((await bench.grid()).session('n1'))),
    outside: lasting(async () => opened((await bench.grid()).rootShell('n1'))),
    ssh: once(async () => startSsh(await bench.pen())),
    slurm: once(async () => startSlurm(await bench.pen(), bench.cpus)),
  }
  // Idle memory first: before anyone has logged in.
  const topic = topicOf('exec', [memory(bench), spawning(bench, places), keystroke(bench, places), jobs(bench, places, samples), compile(bench, places)])
  for (const [what, start] of [['OpenSSH', places.ssh], ['Slurm', places.slurm], ['the grid', bench.grid]] as const) {
    bench.options.signal.throwIfAborted()
    say(`exec: starting ${what}`)
    await start().catch((error: unknown) => { say(`exec: ${what}: ${reason(error)}`) })
  }
  return topic
}

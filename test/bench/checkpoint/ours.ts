import type { Shell } from '../shell.ts'
import { type Load, type Subject, argumentsOf, directory, seenStandstill } from './subject.ts'
import { parseBeat } from './beat.ts'

const node = 'n2'

/** Ours: the program is typed in a session on n1, runs on n2, and is checkpointed by its job's id. */
export function gridSubject(session: () => Promise<Shell>, load: Load): Subject {
  let job: string | null = null
  const log = `~/${directory}/ours/beat`
  const beat = async () => parseBeat((await (await session()).sh(`cat ${log} 2> /dev/null || :`)).stdout)
  const timed = async (script: string): Promise<number> => {
    const shell = await session()
    await shell.sh('sync')
    return (await shell.sh(script, { timeout_ms: 180_000 })).elapsed_ms
  }
  const running = (): string => {
    if (job === null) throw new Error('the job for xcheckpoint is not running')
    return job
  }
  return {
    async start() {
      const shell = await session()
      await shell.sh(`xcheckpoint rm bench-live bench-dump 2> /dev/null || :; rm -f ${log}; XOS_NODE=${node} setsid python3 ~/${directory}/heartbeat.py ${argumentsOf(load, log)} < /dev/null > /dev/null 2>&1 &`)
      for (let attempt = 0; attempt < 300 && (await beat()).pid === null; attempt++) {
        await new Promise((resolve) => { setTimeout(resolve, 100) })
      }
      const jobs = JSON.parse((await shell.sh('xps --json')).stdout) as { id: string, name: string, node: string, state: string }[]
      const found = jobs.filter(({ name, state }) => name.startsWith('python') && state === 'running')
      if (found.length !== 1 || found[0] === undefined) throw new Error(`xps shows ${found.length} python jobs that run, want 1: ${JSON.stringify(jobs).slice(0, 500)}`)
      job = found[0].id
    },
    async live() {
      const from = Date.now()
      const total_ms = await timed(`xcheckpoint ${running()} --name bench-live --leave-running`)
      const to = Date.now()
      const bytes = Number((await (await session()).sh('cat ~/.xos/checkpoints/bench-live/* | wc -c')).stdout)
      // The program tells of it through the home, from another node.
      await new Promise((resolve) => { setTimeout(resolve, 1_500) })
      return { still_ms: seenStandstill(await beat(), from, to), total_ms, bytes }
    },
    dump: () => timed(`xcheckpoint ${running()} --name bench-dump`),
    restore: () => timed(`xrestart --node ${node} bench-dump`),
    async end() {
      if (job === null) return
      const id = job
      job = null
      // Its proxy goes on waiting while the job is only stored: killing that is all there is to do then.
      await (await session()).sh(`xkill -s KILL ${id} || :; pkill -KILL -f ${directory}/heartbeat.py || :; xcheckpoint rm bench-live bench-dump || :`, { mayFail: true })
    },
  }
}

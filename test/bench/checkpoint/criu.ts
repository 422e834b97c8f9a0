import type { Grid } from '../grid.ts'
import { type Load, type Subject, argumentsOf, directory, seenStandstill, volume } from './subject.ts'
import { parseBeat } from './beat.ts'

const node = 'n2'
const place = `${volume}/${directory}/criu`

/** The anchor: criu of the image itself, as root of n2, dumping into the home volume as it is mounted there. */
export function criuSubject(grid: () => Promise<Grid>, load: Load): Subject {
  let pid: number | null = null
  const root = async (script: string, mayFail = false) => (await grid()).root(node, script, { timeout_ms: 180_000, mayFail })
  const beat = async () => parseBeat((await root(`cat ${place}/beat 2> /dev/null || :`)).stdout)
  const running = async (): Promise<number> => {
    if (pid === null) throw new Error('the process for criu is not running')
    return pid
  }
  const dump = async (images: string, options: string): Promise<number> => {
    const at = `${place}/${images}`
    const began = await root(`rm -rf ${at}; mkdir ${at}; sync`).then(() => performance.now())
    await root(`criu dump -t ${await running()} -D ${at} -o dump.log -v1 ${options} || { cat ${at}/dump.log >&2; exit 1; }`)
    return performance.now() - began
  }
  return {
    async start() {
      const at = place
      await root(`rm -f ${at}/beat; setsid python3 ${at}/../heartbeat.py ${argumentsOf(load, `${at}/beat`)} < /dev/null > /dev/null 2>&1 &`)
      for (let attempt = 0; attempt < 300 && pid === null; attempt++) {
        await new Promise((resolve) => { setTimeout(resolve, 100) })
        pid = (await beat()).pid
      }
      await running()
    },
    async live() {
      const from = Date.now()
      const total_ms = await dump('live', '--leave-running')
      const to = Date.now()
      const bytes = Number((await root(`cat ${place}/live/*.img | wc -c`)).stdout)
      await new Promise((resolve) => { setTimeout(resolve, 1_500) })
      return { still_ms: seenStandstill(await beat(), from, to), total_ms, bytes }
    },
    dump: () => dump('images', ''),
    async restore() {
      const at = `${place}/images`
      // The node's first process reaps orphans every few seconds; until then the pid that is to be restored is taken by a zombie.
      await root(`for attempt in $(seq 100); do test -e /proc/${await running()} || exit 0; sleep 0.1; done; exit 1`)
      const began = performance.now()
      await root(`criu restore -D ${at} -o restore.log -v1 -d || { cat ${at}/restore.log >&2; exit 1; }`)
      const took = performance.now() - began
      await root(`kill -0 ${await running()}`)
      return took
    },
    async end() {
      if (pid === null) return
      await root(`kill -KILL ${pid}`, true)
      pid = null
    },
  }
}

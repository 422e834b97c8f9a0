import { setTimeout as sleep } from 'node:timers/promises'
import type { ProcessIdentity } from '../setup/lib/process.mjs'
import { isAlive } from '../setup/lib/process.mjs'

/** Sends KILL to processes that are still who they were, and waits until all are gone, at most `timeout_ms`. Returns those that are not. */
export async function killAll(processes: readonly (ProcessIdentity | null)[], timeout_ms = 15_000): Promise<ProcessIdentity[]> {
  const end = performance.now() + timeout_ms
  let left = processes.filter((process) => process !== null && isAlive(process)) as ProcessIdentity[]
  for (const { pid } of left) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch { /* gone meanwhile */ }
  }
  while ((left = left.filter((each) => isAlive(each))).length > 0 && performance.now() < end) await sleep(10)
  return left
}

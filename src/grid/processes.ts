import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ProcessIdentity } from '../setup/lib/process.mjs'
import { isAlive } from '../setup/lib/process.mjs'

/** Sends KILL to processes that are still who they were, and waits until all are gone, at most `timeout_ms`. Returns those that are not. */
export async function killAll(processes: readonly (ProcessIdentity | null)[], timeout_ms = 15_000): Promise<ProcessIdentity[]> {
  const alive = processes.filter((process) => process !== null && isAlive(process)) as ProcessIdentity[]
  for (const { pid } of alive) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch { /* gone meanwhile */ }
  }
  return await gone(alive, timeout_ms)
}

/** Waits until all processes are gone, at most `timeout_ms`. Returns those that are not. */
export async function gone(processes: readonly ProcessIdentity[], timeout_ms: number): Promise<ProcessIdentity[]> {
  const end = performance.now() + timeout_ms
  let left = [...processes]
  while ((left = left.filter((each) => isAlive(each))).length > 0 && performance.now() < end) await sleep(10)
  return left
}

/**
 * Waits until the machine's init has taken note of dead processes that became its children, at most `timeout_ms`: until then they are
 * listed as defunct, although they hold nothing. Most inits are immediate, some look every few seconds.
 */
export async function reaped(processes: readonly ProcessIdentity[], timeout_ms = 5_000): Promise<void> {
  const end = performance.now() + timeout_ms
  while (processes.some((each) => !isAlive(each) && existsSync(`/proc/${each.pid}`)) && performance.now() < end) await sleep(20)
}

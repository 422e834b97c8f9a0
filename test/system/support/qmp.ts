// QEMU's control protocol: JSON lines, one command at a time. Source: QEMU's docs/interop/qmp-spec.rst.
import type { Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { within } from './socket.ts'

export interface Qmp {
  /** Throws what QEMU says when it refuses. */
  execute(command: string, args?: Record<string, unknown>): Promise<unknown>
  close(): void
}

interface Answer { readonly return?: unknown, readonly error?: { readonly desc: string }, readonly QMP?: unknown, readonly event?: string }

export async function openQmp (socket: Socket): Promise<Qmp> {
  const waiting: { resolve(answer: Answer): void, reject(error: Error): void }[] = []
  const next = (): Promise<Answer> => new Promise((resolve, reject) => waiting.push({ resolve, reject }))
  // The reader passes the socket's errors on, as its own.
  createInterface({ input: socket }).on('error', () => {}).on('line', (line) => {
    const answer = JSON.parse(line) as Answer
    if (answer.event === undefined) waiting.shift()?.resolve(answer)
  })
  socket.on('error', () => {})
  socket.on('close', () => { for (const each of waiting.splice(0)) each.reject(new Error('QEMU is gone')) })
  const execute = async (command: string, args: Record<string, unknown> = {}): Promise<unknown> => {
    const answered = next()
    socket.write(`${JSON.stringify({ execute: command, arguments: args })}\n`)
    const { return: result, error } = await within(60_000, () => `QEMU's answer to ${command}`, answered)
    if (error !== undefined) throw new Error(`QEMU refuses ${command} ${JSON.stringify(args)}: ${error.desc}`)
    return result
  }
  await within(20_000, () => 'the greeting of QEMU', next())
  await execute('qmp_capabilities')
  return { execute, close: () => void socket.destroy() }
}

/** Waits for the end of a migration, out of this QEMU or into it. */
export async function migrated (qmp: Qmp, timeout_ms: number): Promise<void> {
  const end = performance.now() + timeout_ms
  for (;;) {
    const { status, 'error-desc': reason } = await qmp.execute('query-migrate') as { status?: string, 'error-desc'?: string }
    if (status === 'completed') return
    if (status === 'failed' || status === 'cancelled') throw new Error(`the snapshot ${status}: ${reason ?? 'no reason is given'}`)
    if (performance.now() > end) throw new Error(`the snapshot is not done within ${timeout_ms / 1000} s (${status})`)
    await sleep(10)
  }
}

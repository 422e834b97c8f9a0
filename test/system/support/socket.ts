import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** Connects to a Unix socket that somebody is about to make; tries until `timeout_ms` or until `gone` says that nobody will. */
export async function connectWhenThere (path: string, timeout_ms: number, gone: () => string | null): Promise<Socket> {
  const end = performance.now() + timeout_ms
  for (;;) {
    const socket = await new Promise<Socket | null>((resolve) => {
      const attempt = connect(path)
      attempt.once('connect', () => {
        attempt.removeAllListeners('error')
        attempt.on('error', () => {})
        resolve(attempt)
      })
      attempt.once('error', () => resolve(null))
    })
    if (socket !== null) return socket
    const why = gone()
    if (why !== null) throw new Error(`cannot connect to '${path}': ${why}`)
    if (performance.now() > end) throw new Error(`cannot connect to '${path}' within ${timeout_ms / 1000} s`)
    await sleep(20)
  }
}

/** A promise that fails with `what` when it takes longer. */
export async function within<T> (timeout_ms: number, what: () => string, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what()}: not within ${timeout_ms / 1000} s`)), timeout_ms)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}

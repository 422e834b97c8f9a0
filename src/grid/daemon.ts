// Talking to the xosd of a node from outside: its socket is reached through /proc/PID/root, so no process is started in the node.
import { setTimeout as sleep } from 'node:timers/promises'
import type { NodeStatus } from '../api/operations/node.ts'
import type { OperationName, Request, Response } from '../api/operations.ts'
import { XosError } from '../core/errors.ts'
import type { ProcessIdentity } from '../setup/lib/process.mjs'
import { isAlive } from '../setup/lib/process.mjs'

const poll_ms = 50

export async function callNode<N extends OperationName>(init: ProcessIdentity, op: N, request: Request<N>, timeout_ms = 15_000): Promise<Response<N>> {
  // Loaded when it is used: exec and login are faster without, and down works even when this clone's other parts do not load.
  const { callApi } = await import('../api/client.ts')
  return await callApi(op, request, { run: `/proc/${init.pid}/root/run/xos`, timeout_ms })
}

/** The node's own word on its state, or null when its xosd does not answer. */
export async function nodeStatus(init: ProcessIdentity, timeout_ms = 2_000): Promise<NodeStatus | null> {
  try {
    return await callNode(init, 'status', {}, timeout_ms)
  } catch {
    return null
  }
}

/**
 * Waits until the node says what `wanted` accepts.
 * Throws XOS_NODE_DEAD when its init ends, XOS_NODE_TIMEOUT after `timeout_ms`, with the last reason it gave.
 */
export async function waitForNode(node: string, init: ProcessIdentity, wanted: (status: NodeStatus) => boolean, what: string, options: { readonly timeout_ms: number; readonly signal?: AbortSignal | undefined }): Promise<NodeStatus> {
  const end = performance.now() + options.timeout_ms
  let last: NodeStatus | null = null
  for (;;) {
    options.signal?.throwIfAborted()
    last = await nodeStatus(init) ?? last
    if (last !== null && wanted(last)) return last
    if (!isAlive(init)) throw new XosError('XOS_NODE_DEAD', `node '${node}' died before it was ${what}`, { node })
    if (performance.now() >= end) {
      const told = last === null ? 'its xosd does not answer' : `it is '${last.state}'${last.reason ? `: ${last.reason}` : ''}`
      throw new XosError('XOS_NODE_TIMEOUT', `node '${node}' was not ${what} within ${options.timeout_ms / 1000} s: ${told}`, { node })
    }
    await sleep(poll_ms, undefined, { signal: options.signal })
  }
}

import type { NodeStatus } from '../../api/operations/node.ts';
import { XosError, describe, hasCode } from '../../core/errors.ts';
import { systemClock } from '../../platform/clock.ts';
import { ask } from '../lib/api.ts';
import type { Call } from '../lib/command.ts';

const poll_ms = 200;

export interface Wanted {
  /** What is being waited for, for the error: "node 'n2' to join VO 'demo'". */
  readonly what: string;
  readonly is: (status: NodeStatus) => boolean;
  readonly timeout_ms: number;
}

/** Asks xosd until its state is as wanted. Throws XOS_TIMEOUT with the reason that xosd gave last; xosd goes on trying then. */
export async function waitForNode(call: Call, wanted: Wanted): Promise<NodeStatus> {
  const end_ms = systemClock.monotonic_ms() + wanted.timeout_ms;
  let reason = 'xosd does not answer';
  for (;;) {
    try {
      const status = await ask(call, 'status', {});
      if (wanted.is(status)) return status;
      reason = `the node is ${status.state}${status.reason === '' ? '' : `: ${status.reason}`}`;
    } catch (thrown) {
      if (call.signal.aborted || !hasCode(thrown, 'XOS_UNAVAILABLE', 'XOS_TIMEOUT', 'XOS_CLOSED')) throw thrown;
      reason = describe(thrown);
    }
    if (systemClock.monotonic_ms() >= end_ms) {
      throw new XosError('XOS_TIMEOUT', `waited ${wanted.timeout_ms / 1000} s for ${wanted.what}, in vain: ${reason}; it goes on trying, 'xnode status' and the log of xosd tell`);
    }
    await systemClock.sleep(poll_ms, call.signal);
  }
}

import { controlRequest } from '../platform/control.ts';
import { systemClock } from '../platform/clock.ts';
import { connectUnix } from '../platform/connect.ts';
import type { OperationName, Progress, Request, Response } from './operations.ts';

export interface CallOptions<N extends OperationName> {
  readonly signal?: AbortSignal;
  /** null: as long as it takes. Default limits.control_request_ms. */
  readonly timeout_ms?: number | null;
  readonly onProgress?: (progress: Progress<N>) => void;
  /** Default $XOS_RUN or /run/xos. */
  readonly run?: string;
}

/** One operation of the xosd of this node. Rejects with the XosError that it told, XOS_UNAVAILABLE when it does not run. */
export function callApi<N extends OperationName>(op: N, request: Request<N>, options: CallOptions<N> = {}): Promise<Response<N>> {
  const run = options.run ?? process.env['XOS_RUN'] ?? '/run/xos';
  return controlRequest<Response<N>>({ network: { connectUnix }, clock: systemClock }, `${run}/xosd.sock`, op, request as object, {
    ...(options.signal === undefined ? {} : { signal: options.signal }),
    ...(options.timeout_ms === undefined ? {} : { timeout_ms: options.timeout_ms }),
    ...(options.onProgress === undefined ? {} : { onProgress: options.onProgress as (progress: object) => void }),
  });
}

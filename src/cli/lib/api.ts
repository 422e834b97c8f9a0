import { existsSync } from 'node:fs';
import { XosError, hasCode } from '../../core/errors.ts';
import type { OperationName, Progress, Request, Response } from '../../api/operations.ts';
import type { JobRow } from '../../job/rows.ts';
import type { Call } from './command.ts';

export interface AskOptions<N extends OperationName> {
  /** null: as long as it takes. */
  readonly timeout_ms?: number | null;
  readonly onProgress?: (progress: Progress<N>) => void;
}

/**
 * Asks the xosd of this node; gives up on ^C. The client is loaded here and not at the top of a command, so that --help does not pay for it.
 * @throws XosError as xosd told it; XOS_UNAVAILABLE when it does not run
 */
export async function ask<N extends OperationName>(call: Call, op: N, request: Request<N>, options: AskOptions<N> = {}): Promise<Response<N>> {
  const { callApi } = await import('../../api/client.ts');
  const run = call.env['XOS_RUN'];
  return await callApi(op, request, { signal: call.signal, ...options, ...(run === undefined ? {} : { run }) }).catch((thrown: unknown) => {
    // Without this file the unit does not start, so xosd is not what is missing.
    const configured = existsSync(`${call.env['XOS_ETC'] ?? '/etc/xos'}/node.json`);
    if (configured || !hasCode(thrown, 'XOS_UNAVAILABLE') || existsSync(`${run ?? '/run/xos'}/xosd.sock`)) throw thrown;
    throw new XosError('XOS_UNAVAILABLE', "this machine is not part of a VO; found one with 'xnode found VO', or join one with 'xnode join TOKEN'", {}, { cause: thrown });
  });
}

/** `job-list`, its portions put together. */
export async function askJobs(call: Call, request: Request<'job-list'>): Promise<{ readonly jobs: readonly JobRow[]; readonly silent: readonly string[] }> {
  const jobs: JobRow[] = [];
  const { silent } = await ask(call, 'job-list', request, { onProgress: (portion) => void jobs.push(...portion.jobs) });
  return { jobs, silent };
}

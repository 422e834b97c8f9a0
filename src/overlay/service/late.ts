import { XosError } from '../../core/errors.ts';

/** Why a wait ended early, to be thrown: XOS_TIMEOUT with `text` when its time was over, or the reason of whoever gave it up. */
export function whyEnded(signal: AbortSignal, text: string): Error {
  const late = signal.reason instanceof Error && signal.reason.name === 'TimeoutError';
  return late ? new XosError('XOS_TIMEOUT', text, {}, { cause: signal.reason }) : signal.reason as Error;
}

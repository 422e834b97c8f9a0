import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { XosError } from '../../core/errors.ts';

/** Runs another program with our streams. Resolves with its exit status, 128+N when signal N ended it; throws XOS_NOT_FOUND when it cannot be started. */
export async function runProgram(program: string, words: readonly string[], signal: AbortSignal): Promise<number> {
  return await new Promise((resolve, reject) => {
    const child = spawn(program, words, { stdio: 'inherit', signal });
    child.on('error', (cause) => reject(signal.aborted ? cause : new XosError('XOS_NOT_FOUND', `cannot start '${program}': ${cause.message}`, { program })));
    child.on('close', (status, name) => resolve(status ?? 128 + (name === null ? 0 : constants.signals[name])));
  });
}

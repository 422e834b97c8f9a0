import { spawn } from 'node:child_process';
import { XosError } from '../core/errors.ts';
import { mib } from '../core/units.ts';
import type { Spawn, SpawnResult } from '../core/ports.ts';

const output_bytes_max = mib;

export const systemSpawn: Spawn = {
  run(program, args, options = {}) {
    const signals = [options.signal, options.timeout_ms === undefined ? undefined : AbortSignal.timeout(options.timeout_ms)];
    const signal = AbortSignal.any(signals.filter((one) => one !== undefined));
    return new Promise<SpawnResult>((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason as Error);
      const child = spawn(program, [...args], { stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'], signal, killSignal: 'SIGKILL' });
      const stdout = collect(child.stdout!);
      const stderr = collect(child.stderr!);
      child.on('error', (cause) => {
        reject(signal.aborted ? (signal.reason as Error) : new XosError('XOS_SPAWN', `cannot run '${program}': ${cause.message}`, { program }, { cause }));
      });
      child.on('close', (exit_code, exit_signal) => resolve({ exit_code, exit_signal, stdout: stdout(), stderr: stderr() }));
      if (child.stdin !== null) {
        child.stdin.on('error', () => {}); // it may end without reading
        child.stdin.end(options.input);
      }
    });
  },
};

function collect(stream: NodeJS.ReadableStream): () => string {
  const chunks: Buffer[] = [];
  let size = 0;
  stream.on('data', (chunk: Buffer) => {
    if (size < output_bytes_max) chunks.push(chunk);
    size += chunk.length;
  });
  return () => Buffer.concat(chunks).subarray(0, output_bytes_max).toString('utf8');
}

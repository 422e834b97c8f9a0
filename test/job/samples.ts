import type { Job } from '../../src/job/model.ts';
import type { KnownNode } from '../../src/job/placement.ts';

/** A job of alice's that runs; change what the test is about. */
export const sampleJob = (changes: Partial<Job> = {}): Job => ({
  id: 'n1-1', name: 'python3', argv: ['python3', 'crunch.py'], node: 'n2', state: 'running', session: 'ab'.repeat(16), uid: 1879113729,
  user: 'alice', vo: 'demo', proxy_pid: 4242, started_ms: 1_000_000, ended_ms: null, exit_code: null, exit_signal: null, cpu_seconds: null,
  reason: '', protect_s: null, checkpoint_ms: null, ...changes,
});

export const sampleNode = (node: string, changes: { cpus?: number; running?: number; load?: number; memory_free_bytes?: number } & Partial<KnownNode> = {}): KnownNode => {
  const { cpus = 2, running = 0, load = 0, memory_free_bytes = 2 ** 30, ...known } = changes;
  return {
    node, admitted: true, runs_jobs: true, age_ms: 100,
    report: { node, cpus, running, load, memory_free_bytes, memory_total_bytes: 2 ** 32 }, ...known,
  };
};

/** Deterministic numbers in [0, below) from a seed (xorshift32). */
export function seeded(seed: number): (below: number) => number {
  let state = seed | 1;
  return (below) => {
    state ^= state << 13; state ^= state >>> 17; state ^= state << 5;
    return (state >>> 0) % below;
  };
}

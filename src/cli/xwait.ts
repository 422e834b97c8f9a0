#!/usr/lib/xos/bin/node
import type { Job } from '../job/model.ts';
import { ask, askJobs } from './lib/api.ts';
import { commonExitStatus, defineCommand, jsonOption, type Call } from './lib/command.ts';
import { runIfMain } from './lib/main.ts';

/** One turn at xosd; it answers earlier when the job ends. */
const turnMs = 15_000;
/** A home node that is silent for longer takes its jobs with it. */
const homeSilenceMs = 10_000;
const retryMs = 1_000;

export const command = defineCommand({
  name: 'xwait',
  summary: 'wait for jobs to end',
  description: [
    'Waits until each JOB has ended, from any node, and exits with the status of the last one named: its exit status, or 128 and the number of the signal that killed it.',
    'A job that is lost with its node, or whose home node has not answered for ten seconds, counts as killed: 137.',
    'Without an argument xwait waits for all your running jobs and exits with 0.',
  ],
  options: {
    timeout: { kind: 'number', short: 't', value: 'N', unit: 'seconds', min: 0, summary: 'give up after this time' },
    json: { ...jsonOption, summary: 'print the ended jobs as JSON' },
  },
  arguments: [{ name: 'JOB|PID', summary: 'id of a job, or process id of its proxy on this node', repeated: true, optional: true, complete: 'job' }],
  examples: [{ text: 'go on when both have ended', line: 'xwait n1-42 n1-43 && echo done' }],
  exitStatus: [
    { status: '0-255', meaning: 'that of the last job named' }, { status: '1', meaning: 'also: a job could not be waited for; the reason is on stderr' },
    commonExitStatus[2]!, { status: '124', meaning: 'the time of --timeout is over' }, { status: '137', meaning: 'the job was lost' },
  ],
  seeAlso: [['xps', 1], ['xkill', 1], ['xrun', 1]],
  run: async (call) => {
    const seconds = call.options.timeout;
    const until = seconds === undefined ? Number.POSITIVE_INFINITY : performance.now() + seconds * 1000;
    const names = call.args.length > 0 ? call.args : (await askJobs(call, {})).jobs.filter(({ state }) => state !== 'lost').map(({ id }) => id);
    const ended = await Promise.all(names.map((name) => waitFor(call, name, until)));
    if (call.options.json) call.json(ended);
    if (ended.some((job) => job === 'late')) return 124;
    const last = ended.at(-1);
    return call.args.length === 0 || last === undefined || last === 'late' ? 0 : exitStatus(last);
  },
});

/** The status a shell would give: as if the job had been its child. */
function exitStatus(job: Pick<Job, 'state' | 'exit_code' | 'exit_signal'>): number {
  if (job.exit_signal !== null) return 128 + job.exit_signal;
  return job.state === 'lost' ? 137 : job.exit_code ?? 0;
}

type Ended = Pick<Job, 'id' | 'state' | 'exit_code' | 'exit_signal' | 'reason'>;

async function waitFor(call: Call, name: string, until: number): Promise<Ended | 'late'> {
  let silentSince: number | null = null;
  for (;;) {
    const left = until - performance.now();
    try {
      const { job } = await ask(call, 'job-wait', { job: name, turn_ms: Math.max(0, Math.min(turnMs, left)) }, { timeout_ms: null });
      silentSince = null;
      if (job.state === 'lost') call.note(`job '${job.id}' was lost with node '${job.node}': ${job.reason}`);
      if (job.state === 'lost' || job.state === 'ended') return job;
    } catch (error) {
      call.signal.throwIfAborted();
      if (!isSilence(error)) throw error;
      silentSince ??= performance.now();
      if (performance.now() - silentSince > homeSilenceMs) {
        const reason = error instanceof Error ? error.message : String(error);
        call.note(`job '${name}' counts as lost: ${reason}`);
        return { id: name, state: 'lost', exit_code: null, exit_signal: null, reason };
      }
      const { setTimeout: sleep } = await import('node:timers/promises');
      await sleep(retryMs, undefined, { signal: call.signal });
    }
    if (performance.now() >= until) return 'late';
  }
}

const isSilence = (error: unknown): boolean =>
  typeof error === 'object' && error !== null && 'code' in error && error.code === 'XOS_UNAVAILABLE' && 'data' in error
  && typeof error.data === 'object' && error.data !== null && 'node' in error.data;

await runIfMain(import.meta, command);

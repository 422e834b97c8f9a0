#!/usr/lib/xos/bin/node
import type { CheckpointProgress } from '../checkpoint/model.ts';
import { ask } from './lib/api.ts';
import { commonExitStatus, defineCommand, type Call } from './lib/command.ts';
import { runIfMain } from './lib/main.ts';
import { startProgress } from './lib/progress.ts';
import { formatBytes } from './lib/units.ts';

export const command = defineCommand({
  name: 'xmigrate',
  summary: 'move a running job to another node',
  description: [
    'Moves a JOB with all its processes to another node while it runs. Its proxy, terminal, pipes, exit status and the process ids inside of it stay the same; it stands still while it is on its way, and what is typed or sent to it meanwhile reaches it there.',
    'A job is named by its id, as `xps` shows it, or by the process id of its proxy on this node. Without `--to` it goes where there is most room.',
    'What cannot move is refused with the reason before anything is touched: programs that cannot be checkpointed (`xcheckpoint --check` tells them), open files that only its node has, a node that cannot be reached, does not let you in, or has an older kernel or a processor that lacks what the job may use.',
    'When it cannot be restored on the other node, it goes on where it was. Its memory goes through `~/.xos/checkpoints/moving-JOB`, which is removed afterwards; only when the job could be restored on neither node it stays, and `xrestart moving-JOB` takes it. An interrupted xmigrate leaves the move to the nodes, which finish it.',
  ],
  synopsis: ['[--to NODE] [--json] JOB|PID'],
  options: {
    to: { kind: 'text', short: 't', value: 'NODE', summary: 'the node where it shall go on', complete: 'node' },
    json: { kind: 'flag', summary: 'print JSON' },
  },
  arguments: [{ name: 'JOB|PID', summary: 'id of a job, or process id of its proxy', complete: 'job' }],
  examples: [
    { text: 'to a node of your choice', line: 'xmigrate n1-42 --to n3' },
    { text: 'the last background job, to wherever there is room', line: 'xmigrate $!' },
  ],
  exitStatus: [
    { status: '0', meaning: 'the job runs on the other node' }, { status: '1', meaning: 'it was not moved; the reason, and where it is, are on stderr' }, commonExitStatus[2]!,
  ],
  files: [{ name: '~/.xos/checkpoints/moving-JOB/', summary: 'the job while it is on its way' }],
  seeAlso: [['xcheckpoint', 1], ['xrestart', 1], ['xps', 1], ['xnode', 1]],
  run: async (call) => await migrate(call as Call, call.args[0]!, call.options.to ?? null),
});

async function migrate(call: Call, job: string, node: string | null): Promise<number> {
  const progress = startProgress(call.err);
  try {
    const done = await ask(call, 'checkpoint-migrate', { job, node }, { timeout_ms: null, onProgress: (at) => progress.update(progressText(job, at)) });
    progress.stop();
    if (call.options['json']) call.json(done);
    else
      call.out.write(`job ${done.job} (${done.program}, ${done.processes === 1 ? '1 process' : `${done.processes} processes`}) moved from node ${done.from} to node ${done.node}: `
        + `${formatBytes(done.bytes)}, stood still for ${done.standstill_ms < 1000 ? `${done.standstill_ms} ms` : `${(done.standstill_ms / 1000).toFixed(2)} s`}\n`);
    return 0;
  } finally {
    progress.stop();
  }
}

const phases: Readonly<Record<string, string>> = {
  preparing: 'looking at the processes', freezing: 'stopping the processes', writing: 'sending memory', checking: 'summing up', finished: 'sent', reading: 'taking in memory', restoring: 'starting it again',
};

function progressText(job: string, { phase, bytes, bytes_total }: CheckpointProgress): string {
  const share = bytes > 0 && bytes_total > 0 && (phase === 'writing' || phase === 'reading') ? ` ${formatBytes(bytes)} of about ${formatBytes(bytes_total)}` : '';
  return `migration of ${/^\d+$/.test(job) ? 'process' : 'job'} ${job}: ${phases[phase] ?? phase}${share}`;
}

await runIfMain(import.meta, command);

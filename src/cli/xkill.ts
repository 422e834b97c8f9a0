#!/usr/lib/xos/bin/node
import { ask } from './lib/api.ts';
import { commonExitStatus, defineCommand } from './lib/command.ts';
import { runIfMain } from './lib/main.ts';
import { parseSignal, signalList } from './lib/signals.ts';
import { UsageError } from './lib/parse.ts';

export const command = defineCommand({
  name: 'xkill',
  summary: 'send a signal to jobs, wherever they run',
  description: [
    'Sends a signal (TERM unless told otherwise) to each JOB. A job is named by its id, as `xps` shows it, from any node; or by the process id of its proxy on this node.',
    'Signal 0 only tells whether the job is there and yours. Plain `kill` on the proxy does the same as xkill on its node.',
  ],
  synopsis: ['[-SIGNAL | --signal SIGNAL] JOB|PID…', '--list'],
  options: {
    signal: { kind: 'text', short: 's', value: 'SIGNAL', summary: 'the signal, by name or number', complete: 'signal' },
    list: { kind: 'flag', short: 'l', summary: 'list the names of signals' },
  },
  arguments: [{ name: 'JOB|PID', summary: 'id of a job, or process id of its proxy', repeated: true, optional: true, complete: 'job' }],
  examples: [{ text: 'end a job at once', line: 'xkill -9 n1-42' }, { text: 'stop everything of mine', line: 'xps -q | xargs -r xkill -STOP' }],
  exitStatus: [{ status: '0', meaning: 'all jobs got the signal' }, { status: '1', meaning: 'at least one did not; the reason is on stderr' }, commonExitStatus[2]!],
  seeAlso: [['kill', 1], ['xps', 1], ['xwait', 1], ['signal', 7]],
  normalize: (argv) => {
    // `kill -9`, `kill -SIGTERM`: only as the first argument, so that no option of ours is ever taken for a signal.
    const signal = /^-((?:SIG)?[A-Z][A-Z0-9+-]{1,}|[0-9]{1,2})$/.exec(argv[0] ?? '')?.[1];
    return signal === undefined ? argv : [`--signal=${signal}`, ...argv.slice(1)];
  },
  run: async (call) => {
    if (call.options.list) {
      for (const [number, name] of signalList()) call.out.write(`${`${number}`.padStart(2)} ${name}\n`);
      return 0;
    }
    if (call.args.length === 0) throw new UsageError('argument JOB is missing: id of a job, or process id of its proxy');
    const signal = parseSignal(call.options.signal ?? 'TERM');
    let failed = false;
    for (const job of call.args) {
      try {
        await ask(call, 'job-signal', { job, signal });
      } catch (error) {
        call.signal.throwIfAborted();
        call.note(error instanceof Error ? error.message : String(error));
        failed = true;
      }
    }
    return failed ? 1 : 0;
  },
});

await runIfMain(import.meta, command);

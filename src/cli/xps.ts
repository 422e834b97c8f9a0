#!/usr/lib/xos/bin/node
import { formatDuration } from '../core/units.ts';
import type { JobRow } from '../job/rows.ts';
import { askJobs } from './lib/api.ts';
import { commonExitStatus, defineCommand, jsonOption } from './lib/command.ts';
import { runIfMain } from './lib/main.ts';
import { formatTable, tableWidth, type Column } from './lib/table.ts';
import { shellWords } from './lib/text.ts';
import { formatBytes, formatCpu, formatTime } from './lib/units.ts';
import { signalName } from './lib/signals.ts';

export const command = defineCommand({
  name: 'xps',
  summary: 'show the jobs of the grid',
  description: [
    'Shows your jobs on all nodes of the VO, from whichever node you ask: id, program, the node where it runs, state, CPU time and memory.',
    'With protected jobs (`xrun` --protect) KEPT is the age of the checkpoint from which a job would go on if its node were lost; while it waits for that its state is `recovering`.',
    'A job that was lost because its node died stays in the list for ten minutes.',
    'Nodes that do not answer within a second are named on stderr; their jobs may be missing from the list.',
  ],
  options: {
    all: { kind: 'flag', short: 'a', summary: "show everybody's jobs (needs the role `admin`, or root)" },
    ended: { kind: 'flag', short: 'e', summary: 'show also jobs that ended in the last ten minutes, with their exit status' },
    long: { kind: 'flag', short: 'l', summary: 'show the whole command line in place of the name' },
    quiet: { kind: 'flag', short: 'q', summary: 'print job ids only' },
    json: jsonOption,
  },
  examples: [
    { text: 'what is running', line: 'xps' },
    { text: 'ids of all jobs on node n2', line: `xps --json | python3 -c 'import json,sys; print(*[j["id"] for j in json.load(sys.stdin) if j["node"] == "n2"])'` },
  ],
  exitStatus: commonExitStatus,
  seeAlso: [['xkill', 1], ['xwait', 1], ['xwhere', 1], ['xnode', 1], ['xos', 7]],
  run: async (call) => {
    const { all, ended, long, quiet, json } = call.options;
    const { jobs, silent } = await askJobs(call, { all, ended });
    for (const node of silent) call.note(`node '${node}' does not answer; its jobs may be missing`);
    if (json) return call.json(jobs);
    if (quiet) return void jobs.forEach((job) => call.out.write(`${job.id}\n`));
    if (jobs.length === 0) return call.note(ended ? 'no jobs' : 'no jobs are running');
    call.out.write(formatTable(columns({ all, ended, long, kept: jobs.some(({ protect_s }) => protect_s !== null) }, Date.now()), jobs, tableWidth(call.out)));
  },
});

function columns(show: { all: boolean; ended: boolean; long: boolean; kept: boolean }, nowMs: number): readonly Column<JobRow>[] {
  return [
    { title: 'JOB', value: (job) => job.id },
    ...(show.all ? [{ title: 'USER', value: (job: JobRow) => job.user }] : []),
    { title: 'NODE', value: (job) => job.node },
    { title: 'STATE', value: (job) => job.state },
    ...(show.kept ? [{ title: 'KEPT', value: (job: JobRow) => keptText(job, nowMs) }] : []),
    ...(show.ended ? [{ title: 'STATUS', value: statusOf }] : []),
    { title: 'CPU', value: (job) => formatCpu(job.cpu_seconds), align: 'right' },
    { title: 'MEMORY', value: (job) => (job.memory_bytes === 0 ? '-' : formatBytes(job.memory_bytes)), align: 'right' },
    { title: 'STARTED', value: (job) => (job.started_ms === null ? '-' : formatTime(job.started_ms, nowMs)) },
    { title: show.long ? 'COMMAND' : 'NAME', value: (job) => (show.long && job.argv.length > 0 ? shellWords(job.argv) : job.name), flexible: true },
  ];
}

/** Age of the checkpoint from which a protected job would go on. */
function keptText({ protect_s, checkpoint_ms }: JobRow, nowMs: number): string {
  if (protect_s === null) return '-';
  return checkpoint_ms === null ? 'not yet' : `${formatDuration(Math.max(1000, nowMs - checkpoint_ms))} ago`;
}

function statusOf(job: JobRow): string {
  if (job.exit_signal !== null) return signalName(job.exit_signal);
  return job.exit_code === null ? '-' : `${job.exit_code}`;
}

await runIfMain(import.meta, command);

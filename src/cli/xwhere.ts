#!/usr/lib/xos/bin/node
import type { JobRow } from '../job/rows.ts';
import { ask, askJobs } from './lib/api.ts';
import { commonExitStatus, defineCommand, jsonOption, type Call } from './lib/command.ts';
import { runIfMain } from './lib/main.ts';
import { formatTable, tableWidth } from './lib/table.ts';
import { UsageError } from './lib/parse.ts';

export const command = defineCommand({
  name: 'xwhere',
  summary: 'tell where jobs run, or where a command would',
  description: [
    'Without an argument: on which node this shell is, and where your running jobs are.',
    'With JOB or PID: the name of the node where that job runs; PID is the process id of its proxy on this node. An ordinary process runs here.',
    'With `--` and a command: whether it would stay here, and why, or to which node it would go now.',
  ],
  synopsis: ['[--json] [JOB|PID…]', '[--json] -- COMMAND [ARGUMENT…]'],
  options: { json: jsonOption },
  arguments: [{ name: 'JOB|PID', summary: 'id of a job, or a process id on this node', repeated: true, optional: true, complete: 'job' }],
  rest: { name: 'COMMAND', summary: 'a command as one would type it; it is not run', complete: 'command' },
  examples: [{ text: 'where is it', line: 'xwhere n1-42' }, { text: 'where would it go', line: 'xwhere -- gcc -O2 -c big.c' }],
  exitStatus: commonExitStatus,
  seeAlso: [['xps', 1], ['xrun', 1], ['xlocal', 1], ['xos-policy', 5]],
  run: async (call) => {
    if (call.rest.length > 0 && call.args.length > 0) throw new UsageError('give jobs or a command, not both');
    if (call.rest.length > 0) return await whereWould(call, call.rest);
    return call.args.length > 0 ? await whereAre(call, call.args) : await whereAmI(call);
  },
});

async function whereAmI(call: Call): Promise<void> {
  const { here } = await ask(call, 'job-place', {});
  const { jobs, silent } = await askJobs(call, {});
  for (const node of silent) call.note(`node '${node}' does not answer; its jobs may be missing`);
  const running = jobs.filter((job) => job.state !== 'lost');
  if (call.options['json']) return call.json({ node: here, jobs: running.map(brief) });
  call.out.write(`this shell is on ${here}\n`);
  if (running.length > 0) call.out.write(table(running, call));
}

async function whereAre(call: Call, names: readonly string[]): Promise<number> {
  const { jobs } = await askJobs(call, { ended: true });
  const { here } = await ask(call, 'job-place', {});
  const found: { id: string; node: string; state: string }[] = [];
  let failed = false;
  for (const name of names) {
    const job = jobs.find((each) => each.id === name || (each.home === here && `${each.proxy_pid}` === name && each.state !== 'ended'));
    if (job !== undefined) found.push(brief(job));
    else if (/^[0-9]+$/.test(name) && isProcess(Number(name))) found.push({ id: name, node: here, state: 'local' });
    else {
      call.note(`cannot find '${name}': it is no job of yours and no process of this node; 'xps --ended' lists jobs`);
      failed = true;
    }
  }
  if (call.options['json']) call.json(found);
  else for (const { id, node } of found) call.out.write(names.length === 1 ? `${node}\n` : `${id}  ${node}\n`);
  for (const job of found) if (job.state === 'lost') call.note(`job '${job.id}' was lost there`);
  return failed ? 1 : 0;
}

async function whereWould(call: Call, words: readonly string[]): Promise<void> {
  const { classify } = await import('./lib/policy.ts');
  const decision = await classify(words[0] ?? '', call.env, process.cwd());
  const { here, node, why } = await ask(call, 'job-place', {});
  const asked = decision.node ?? null;
  const target = decision.placement === 'local' ? here : asked ?? node ?? here;
  const reason = decision.placement === 'local' ? decision.why : asked !== null ? decision.why : `${decision.why}; ${why}`;
  if (call.options['json']) return call.json({ command: words, program: decision.program, placement: decision.placement, node: target, why: reason });
  call.out.write(`${target}${target === here ? ' (here)' : ''}: ${reason}\n`);
}

const brief = (job: JobRow): { id: string; name: string; node: string; state: string } => ({ id: job.id, name: job.name, node: job.node, state: job.state });

const table = (jobs: readonly JobRow[], call: Call): string => formatTable([
  { title: 'JOB', value: (job) => job.id }, { title: 'NODE', value: (job) => job.node }, { title: 'STATE', value: (job) => job.state },
  { title: 'NAME', value: (job) => job.name, flexible: true },
], jobs, tableWidth(call.out));

/** EPERM means: somebody's process. */
function isProcess(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

await runIfMain(import.meta, command);

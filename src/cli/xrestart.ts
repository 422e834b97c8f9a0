#!/usr/lib/xos/bin/node
import { ask } from './lib/api.ts';
import { commonExitStatus, defineCommand, type Call } from './lib/command.ts';
import { runIfMain } from './lib/main.ts';
import { UsageError } from './lib/parse.ts';
import { startProgress } from './lib/progress.ts';
import { formatBytes } from './lib/units.ts';

/** Becomes the proxy of a job; the argument is the job's id. */
const proxy = '/usr/lib/xos/bin/xexec';

export const command = defineCommand({
  name: 'xrestart',
  summary: 'bring back a job from a checkpoint',
  description: [
    'Brings back the job that `xcheckpoint` stored as NAME, with all its processes as they were then. `--node` says where; without it the job goes where there is room.',
    "When the job's proxy is still there, in this or another of your terminals, the job is reattached to it and xrestart returns: `fg` brings it up. Otherwise xrestart itself becomes the proxy: the job's terminal is this one, and its exit status that of xrestart. With `--detach` the job goes on by itself and its output is dropped.",
    'There is one copy of a job only: while it runs, or another restart of the same checkpoint does, xrestart refuses.',
  ],
  synopsis: ['[--node NODE] [--detach] [--force] [--json] NAME', '--list [--quiet] [--json]'],
  options: {
    node: { kind: 'text', short: 'n', value: 'NODE', summary: 'the node where it shall go on', complete: 'node' },
    detach: { kind: 'flag', short: 'd', summary: 'do not become its proxy' },
    force: { kind: 'flag', summary: "restart it as a new job though the job's home node does not answer" },
    list: { kind: 'flag', short: 'l', summary: 'list your checkpoints that can be restarted' },
    quiet: { kind: 'flag', short: 'q', summary: 'print names only' },
    json: { kind: 'flag', summary: 'print JSON (with --detach, or when the proxy is there)' },
  },
  arguments: [{ name: 'NAME', summary: 'of a checkpoint', optional: true, complete: 'checkpoint' }],
  examples: [{ text: 'go on with it on another node', line: 'xrestart crunch --node n3' }, { text: 'recover what ran on a node that died', line: 'xcheckpoint ls; xrestart python3-n1-42-1' }],
  exitStatus: [
    { status: '0', meaning: 'it runs again, reattached or detached' }, { status: '1', meaning: 'it could not be restarted; the reason is on stderr' }, commonExitStatus[2]!,
    { status: '0-255', meaning: "the job's own, when xrestart became its proxy" },
  ],
  seeAlso: [['xcheckpoint', 1], ['xps', 1], ['xnode', 1]],
  run: async (call) => {
    const [name] = call.args;
    if (call.options.list) return await list(call as Call);
    if (name === undefined) throw new UsageError("argument NAME is missing: 'xrestart --list' shows what there is");
    return await restart(call as Call, name, { node: call.options.node ?? null, detach: call.options.detach, force: call.options.force });
  },
});

async function list(call: Call): Promise<number> {
  const { listStored } = await import('./checkpoints.ts');
  const usable = (await listStored(call)).flatMap(({ name, manifest }) => (manifest === null ? [] : [{ name, manifest }]));
  if (call.options['json']) call.json(usable.map(({ name, manifest: { job, node, bytes, created_ms } }) => ({ name, job, node, bytes, created_ms })));
  else for (const { name, manifest } of usable) call.out.write(call.options['quiet'] ? `${name}\n` : `${name}\t${manifest.argv.join(' ').replace(/[^\x20-\x7e]/g, '?')}\n`);
  return 0;
}

async function restart(call: Call, wanted: string, { node, detach, force }: { node: string | null; detach: boolean; force: boolean }): Promise<number> {
  const { earlierJob, findStored, noteRestart } = await import('./checkpoints.ts');
  const stored = await findStored(call, wanted, 'restart');
  const progress = startProgress(call.err);
  try {
    const done = await ask(call, 'checkpoint-restart', { name: stored.name, node, detach, force, earlier: await earlierJob(stored) }, {
      timeout_ms: null,
      onProgress: ({ phase, bytes, bytes_total }) =>
        progress.update(`restart of '${stored.name}': ${phase === 'reading' ? 'reading' : 'restoring'}${bytes > 0 ? ` ${formatBytes(bytes)} of ${formatBytes(bytes_total)}` : ''}`),
    });
    progress.stop();
    await noteRestart(stored, done.job);
    const what = `job ${done.job} (${done.program}) runs again on node ${done.node}`;
    if (call.options['json'] && (detach || done.continued)) call.json(done);
    else if (done.continued) call.out.write(`${what}, reattached to its terminal; 'fg' to bring it up\n`);
    else if (detach) call.out.write(`${what}, without a proxy; 'xps' shows it\n`);
    else become(done.job, call);
    return 0;
  } finally {
    progress.stop();
  }
}

/** Replaces this process by the job's proxy: same pid, so the shell waits for it as it waited for us. */
function become(job: string, call: Call): never {
  const environment = Object.fromEntries(Object.entries(call.env).flatMap(([key, value]) => (value === undefined ? [] : [[key, value]])));
  process.execve!(proxy, ['xexec', '--attach', job], environment);
  throw new Error('execve returned');
}

await runIfMain(import.meta, command);

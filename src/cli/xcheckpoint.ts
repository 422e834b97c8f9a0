#!/usr/lib/xos/bin/node
import type { CheckpointProgress, Created, Obstacle } from '../checkpoint/model.ts';
import { isKeptName } from '../checkpoint/protect/kept.ts';
import type { Stored } from './checkpoints.ts';
import { ask } from './lib/api.ts';
import { commonExitStatus, defineCommand, type Call } from './lib/command.ts';
import { runIfMain } from './lib/main.ts';
import { UsageError } from './lib/parse.ts';
import { startProgress } from './lib/progress.ts';
import { formatTable, tableWidth } from './lib/table.ts';
import { formatBytes, formatTime } from './lib/units.ts';

const options = {
  name: { kind: 'text', short: 'n', value: 'NAME', summary: 'name of the checkpoint (default PROGRAM-JOB-NUMBER)' },
  'leave-running': { kind: 'flag', short: 'l', summary: 'let the job go on after it' },
  check: { kind: 'flag', summary: 'only say whether it can be done and what stands in the way' },
  json: { kind: 'flag', summary: 'print JSON' },
} as const;

export const command = defineCommand({
  name: 'xcheckpoint',
  summary: 'store a job with all its processes, to go on with later or elsewhere',
  description: [
    'Stores a JOB, with the memory of all its processes, their open files, pipes and terminals, in `~/.xos/checkpoints/NAME` and ends it; its proxy waits for `xrestart`, which brings it back on any node. With `--leave-running` the job goes on; from some 64 MiB it then stands still only for a moment, while its memory is cloned copy-on-write, and the memory is stored while it runs. What was done, or why not, is said at the end.',
    'A job is named by its id, as `xps` shows it, or by the process id of its proxy on this node. A checkpoint of the same job and name is replaced when the new one is complete. When it fails the job goes on as before and nothing is left behind.',
    'With `--check` nothing is stored: xcheckpoint says what cannot be taken along, and what to do about it. Connections to programs outside of the job cannot; files are not copied, they must still be there at the restart.',
    '`xcheckpoint ls` lists your checkpoints, `show` tells all about one, `rm` removes some. `verify` reads every byte of them and tells what is damaged, cut off, of another format or not signed by a node of your VO.',
    '`export` makes a directory DIR of plain images of CRIU, which `criu restore` takes, and says with which options. `import` makes a checkpoint of such a directory again, here or on another node. Images of any other origin are refused: a node restores as root what they say, so a node must have signed them.',
  ],
  synopsis: ['[--name NAME] [--leave-running] [--json] JOB|PID', '--check [--json] JOB|PID', 'ls [--json]', 'show [--json] NAME', 'rm NAME…', 'verify [--json] NAME…', 'export [--json] NAME DIR', 'import [--name NAME] [--json] DIR'],
  options,
  arguments: [
    { name: 'JOB|PID', summary: 'id of a job, or process id of its proxy; or `ls`, `show`, `rm`, `verify`, `export`, `import`', complete: 'job' },
    { name: 'NAME', summary: 'of a checkpoint, for `show`, `rm`, `verify` and `export`; and the directory of `export` and `import`', optional: true, repeated: true, complete: 'checkpoint' },
  ],
  examples: [
    { text: 'put a job aside, and go on with it tomorrow on another node', line: 'xcheckpoint n1-42 --name crunch; xrestart crunch --node n3' },
    { text: 'keep one outside of the grid, and put it back', line: 'xcheckpoint export crunch /media/disk/crunch; xcheckpoint import /media/disk/crunch' },
    { text: 'what the last background job would need', line: 'xcheckpoint --check $!' },
  ],
  exitStatus: [commonExitStatus[0]!, { status: '1', meaning: 'it could not be done (--check: it could not be done now; verify: one is not whole); the reason is on stderr' }, commonExitStatus[2]!],
  files: [{ name: '~/.xos/checkpoints/NAME/', summary: 'a checkpoint: manifest, memory images, state of the processes' }],
  seeAlso: [['xrestart', 1], ['xps', 1], ['criu', 8]],
  run: async (call) => {
    const [first, ...names] = call.args as [string, ...string[]];
    const other = call as Call;
    if (first === 'ls') return await list(other, names);
    if (first === 'show') return await show(other, names);
    if (first === 'rm') return await remove(other, names);
    if (first === 'verify' || first === 'export' || first === 'import') return await images(other, first, names);
    if (names.length > 0) throw new UsageError(`argument '${names[0]}' is one too many: one job at a time`);
    return call.options.check ? await check(other, first) : await create(other, first, call.options.name ?? null, call.options['leave-running']);
  },
});

async function create(call: Call, job: string, name: string | null, leave_running: boolean): Promise<number> {
  const progress = startProgress(call.err);
  try {
    const done = await ask(call, 'checkpoint-create', { job, name, leave_running }, { timeout_ms: null, onProgress: (at) => progress.update(progressText(job, at)) });
    progress.stop();
    if (call.options['json']) call.json(done);
    else {
      call.out.write(`checkpoint '${done.name}' of job ${done.job} (${done.program}, ${count(done.processes, 'process', 'processes')}): ${formatBytes(done.bytes)}, `
        + `${seconds(done.total_ms)} in all, stood still for ${seconds(done.frozen_ms)}${leave_running ? ` (${wayText(done)})` : ''}\n`);
      if (!leave_running) call.out.write(`the job has stopped; 'xrestart ${done.name}' lets it go on\n`);
    }
    return 0;
  } finally {
    progress.stop();
  }
}

const wayText = ({ way, why_plain }: Created): string => (way === 'plain' ? `plain: ${why_plain ?? 'no reason given'}` : 'copied while it ran');

const phases: Readonly<Record<string, string>> = {
  preparing: 'looking at the processes', freezing: 'stopping the processes', writing: 'writing memory', checking: 'summing up', finished: 'done',
};

function progressText(job: string, { phase, bytes, bytes_total }: CheckpointProgress): string {
  const share = phase === 'writing' && bytes_total > 0 ? ` ${formatBytes(bytes)} of about ${formatBytes(bytes_total)}` : '';
  return `checkpoint of ${/^\d+$/.test(job) ? 'process' : 'job'} ${job}: ${phases[phase] ?? phase}${share}`;
}

async function check(call: Call, job: string): Promise<number> {
  const checked = await ask(call, 'checkpoint-check', { job }, { timeout_ms: null });
  const blocked = checked.obstacles.some(({ certain }) => certain);
  if (call.options['json']) call.json({ ...checked, possible: !blocked });
  else {
    const who = `job ${checked.job} (${checked.program}) on node ${checked.node}`;
    call.out.write(blocked ? `${who} cannot be checkpointed now:\n` : `${who} can be checkpointed${checked.obstacles.length > 0 ? ', but note' : ''}\n`);
    for (const obstacle of checked.obstacles) call.out.write(obstacleText(obstacle));
  }
  return blocked ? 1 : 0;
}

const obstacleText = ({ program, pid, what, advice, certain }: Obstacle): string => `  ${certain ? '' : 'perhaps: '}${program} (process ${pid}) ${what}\n    ${advice}\n`;

async function list(call: Call, names: readonly string[]): Promise<number> {
  if (names.length > 0) throw new UsageError(`argument '${names[0]}' is one too many: 'xcheckpoint show ${names[0]}' tells about one`);
  const { listStored } = await import('./checkpoints.ts');
  const stored = await listStored(call);
  if (call.options['json']) call.json(stored.map(row));
  else if (stored.length > 0) {
    call.out.write(formatTable([
      { title: 'NAME', value: ({ name }) => name },
      { title: 'JOB', value: ({ manifest }) => manifest?.job ?? '-' },
      { title: 'PROGRAM', value: ({ manifest }) => programOf(manifest?.program), flexible: true },
      { title: 'NODE', value: ({ manifest }) => manifest?.node ?? '-' },
      { title: 'SIZE', value: ({ manifest }) => (manifest === null ? '-' : formatBytes(manifest.bytes)), align: 'right' },
      { title: 'TAKEN', value: ({ manifest }) => (manifest === null ? '-' : formatTime(manifest.created_ms, Date.now())) },
      { title: 'STATE', value: ({ name, manifest, reason }) => (manifest === null ? `unusable: ${reason}` : isKeptName(name) ? 'whole, of a protected job' : 'whole') },
    ], stored, tableWidth(call.out)));
  }
  return 0;
}

async function show(call: Call, names: readonly string[]): Promise<number> {
  if (names.length !== 1) throw new UsageError('show takes the name of one checkpoint');
  const { findStored } = await import('./checkpoints.ts');
  const stored = await findStored(call, names[0]!, 'show');
  if (call.options['json']) call.json(row(stored));
  else if (stored.manifest === null) call.out.write(`checkpoint '${stored.name}' is unusable: ${stored.reason}\n`);
  else {
    const { manifest } = stored;
    const lines: readonly (readonly [string, string])[] = [
      ['name', stored.name], ['job', `${manifest.job} of ${manifest.user}@${manifest.vo}`], ['command', manifest.argv.join(' ')], ['directory', manifest.cwd],
      ['taken', `${new Date(manifest.created_ms).toISOString()} on node ${manifest.node} (Linux ${manifest.kernel})`],
      ['job then', manifest.leave_running ? 'went on' : 'stopped'], ['stood still', seconds(manifest.frozen_ms)], ['size', formatBytes(manifest.bytes)],
      ['processes', manifest.processes.map(({ pid, program }) => `${pid} ${program}`).join(', ')],
      ['streams', manifest.streams.map(({ kind, target_fds }) => `${target_fds.join(',')}: ${kind === 'pty' ? 'terminal' : 'pipe'}`).join('; ')],
      ['files', stored.directory],
    ];
    const { printable } = await import('./lib/text.ts');
    for (const [title, value] of lines) call.out.write(`${`${title}:`.padEnd(13)}${printable(value)}\n`);
  }
  return stored.manifest === null ? 1 : 0;
}

async function remove(call: Call, names: readonly string[]): Promise<number> {
  if (names.length === 0) throw new UsageError('rm takes the names of checkpoints');
  const { findStored, removeStored } = await import('./checkpoints.ts');
  let failed = false;
  for (const name of names) {
    try {
      await removeStored(await findStored(call, name, 'remove'));
    } catch (error) {
      call.note(error instanceof Error ? error.message : String(error));
      failed = true;
    }
  }
  return failed ? 1 : 0;
}

async function images(call: Call, verb: 'verify' | 'export' | 'import', words: readonly string[]): Promise<number> {
  const [first, second] = words;
  if (first === undefined && verb === 'verify') throw new UsageError('verify takes the names of checkpoints');
  if ((first === undefined || second === undefined || words.length > 2) && verb === 'export') throw new UsageError('export takes the name of a checkpoint and a directory that is not there yet');
  if ((first === undefined || words.length > 1) && verb === 'import') throw new UsageError("import takes the directory that 'xcheckpoint export' made");
  const { exportImages, importImages, verifyImages } = await import('./images.ts');
  if (verb === 'verify') return await verifyImages(call, words);
  return verb === 'export' ? await exportImages(call, first!, second!) : await importImages(call, first!, (call.options['name'] as string | undefined) ?? null);
}

const row = ({ name, directory, manifest, reason }: Stored) => ({
  name, directory, usable: manifest !== null, reason, job: manifest?.job ?? null, program: manifest === null ? null : programOf(manifest.program),
  argv: manifest?.argv ?? null, node: manifest?.node ?? null, bytes: manifest?.bytes ?? null, created_ms: manifest?.created_ms ?? null,
  frozen_ms: manifest?.frozen_ms ?? null, processes: manifest?.processes ?? null, leave_running: manifest?.leave_running ?? null,
});

const programOf = (path: string | undefined): string => path?.replace(/^.*\//, '') ?? '-';
const count = (number: number, one: string, many: string): string => `${number} ${number === 1 ? one : many}`;
const seconds = (ms: number): string => (ms < 1000 ? `${ms} ms` : `${(ms / 1000).toFixed(2)} s`);

await runIfMain(import.meta, command);

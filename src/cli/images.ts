// Checkpoints as files: whether one is whole, plain images of CRIU made of it, and back. The bytes are read by the program xos-checkpoint
// (native/checkpoint/src/main.cc), with the user's own rights.
import { spawn } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { hasCode, XosError } from '../core/errors.ts';
import { parseCheckpointName } from '../checkpoint/names.ts';
import { findStored, place } from './checkpoints.ts';
import { ask } from './lib/api.ts';
import type { Call } from './lib/command.ts';
import { startProgress } from './lib/progress.ts';
import { printable, shellWords } from './lib/text.ts';
import { formatBytes } from './lib/units.ts';

/** What xos-checkpoint says in the end. */
interface Done {
  readonly name: string;
  readonly job: string;
  readonly node: string;
  readonly bytes: number;
  readonly files: number;
  /** False: xosd did not answer, and nobody could say which nodes are of the VO. */
  readonly signature_checked: boolean;
  /** Of the processor, which this node lacks. */
  readonly missing_features: readonly string[];
  /** export: words of the command that restores it. */
  readonly command?: readonly string[];
  /** export: what was in its pipes, which CRIU alone does not restore. */
  readonly pending_bytes?: number;
}

/** `xcheckpoint verify NAME…`: reads every byte. Status 1 when one of them is not whole. */
export async function verifyImages(call: Call, names: readonly string[]): Promise<number> {
  const results: object[] = [];
  let failed = false;
  for (const wanted of names) {
    try {
      const { name, directory } = await findStored(call, wanted, 'verify');
      const done = await run(call, `verifying '${name}'`, ['verify', directory]);
      results.push({ name, whole: true, reason: null, code: null, bytes: done.bytes, signature_checked: done.signature_checked, missing_features: done.missing_features });
      if (call.options['json']) continue;
      call.out.write(`checkpoint '${name}' is whole: ${formatBytes(done.bytes)} in ${done.files} files, ${done.signature_checked ? `signed by node ${printable(done.node)}` : 'signature not checked'}\n`);
      if (done.missing_features.length > 0) call.out.write(`  it cannot go on on this node, whose processor lacks ${printable(done.missing_features.join(', '))}\n`);
    } catch (error) {
      if (!(error instanceof XosError) || call.signal.aborted) throw error;
      failed = true;
      results.push({ name: wanted, whole: false, reason: error.message, code: error.code });
      if (!call.options['json']) call.note(error.message);
    }
  }
  if (call.options['json']) call.json(results);
  return failed ? 1 : 0;
}

/** `xcheckpoint export NAME DIR` */
export async function exportImages(call: Call, wanted: string, to: string): Promise<number> {
  const { name, directory } = await findStored(call, wanted, 'export');
  const done = await run(call, `exporting '${name}'`, ['export', directory, resolve(to)]);
  if (call.options['json']) call.json({ name, directory: resolve(to), bytes: done.bytes, command: done.command ?? [], pending_bytes: done.pending_bytes ?? 0 });
  else {
    call.out.write(`checkpoint '${name}' is in '${printable(resolve(to))}' (${formatBytes(done.bytes)}); root restores it, where its process ids are free, with\n  ${printable(shellWords(done.command ?? []))}\n`);
    if ((done.pending_bytes ?? 0) > 0) call.out.write(`  ${done.pending_bytes} bytes that nobody had read yet from its pipes are lost by that\n`);
  }
  return 0;
}

/** `xcheckpoint import DIR [--name NAME]`; without a name it has that of the directory. */
export async function importImages(call: Call, from: string, wanted: string | null): Promise<number> {
  const name = parseCheckpointName(wanted ?? basename(resolve(from)));
  await mkdir(place(call), { recursive: true, mode: 0o700 });
  const directory = `${place(call)}/${name}`;
  const done = await run(call, `importing '${name}'`, ['import', resolve(from), directory]);
  if (call.options['json']) call.json({ name, directory, job: done.job, bytes: done.bytes, signature_checked: done.signature_checked });
  else call.out.write(`checkpoint '${name}' of job ${printable(done.job)} is there again (${formatBytes(done.bytes)}); 'xrestart ${name}' lets it go on\n`);
  return 0;
}

/** Who vouches for the nodes of the VO; empty when xosd cannot tell. */
async function authority(call: Call): Promise<string> {
  try {
    return (await ask(call, 'checkpoint-authority', {})).certificates;
  } catch (error) {
    if (!hasCode(error, 'XOS_UNAVAILABLE')) throw error;
    call.note(`${(error as XosError).message}; whether a node of your VO has signed it is not checked`);
    return '';
  }
}

async function run(call: Call, what: string, words: readonly string[]): Promise<Done> {
  const program = `${call.env['XOS_BIN'] ?? '/usr/lib/xos/bin'}/xos-checkpoint`;
  const trusted = await authority(call);
  const progress = startProgress(call.err);
  const child = spawn(program, [...words], { stdio: ['pipe', 'pipe', 'inherit'], signal: call.signal });
  try {
    const ended = new Promise<void>((settle, reject) => {
      child.on('error', (cause) => reject(call.signal.aborted ? cause : new XosError('XOS_NOT_FOUND', `cannot start '${program}': ${cause.message}`, { program })));
      child.on('close', () => settle());
    });
    child.stdin.on('error', () => {}); // it may end without reading
    child.stdin.end(trusted);
    let last: Line = {};
    const read = (async () => {
      for await (const line of createInterface({ input: child.stdout })) {
        last = JSON.parse(line) as Line;
        if (last.bytes !== undefined) progress.update(`${what}: ${formatBytes(last.bytes)} of ${formatBytes(last.bytes_total ?? 0)}`);
      }
    })();
    await Promise.all([ended, read]);
    call.signal.throwIfAborted();
    if (last.error !== undefined) throw new XosError(last.error.code, last.error.message);
    if (last.result === undefined) throw new XosError('XOS_SPAWN', `'${program}' ended without an answer; try again`, { program });
    return last.result;
  } finally {
    progress.stop();
  }
}

interface Line { readonly bytes?: number; readonly bytes_total?: number; readonly result?: Done; readonly error?: { readonly code: `XOS_${string}`; readonly message: string } }

// A user's checkpoints as files: what xcheckpoint and xrestart show and remove without asking any daemon.
import { readdir, readFile, rm, stat, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { XosError } from '../core/errors.ts';
import { manifest_name, parseManifest, type Manifest } from '../checkpoint/manifest.ts';
import { checkpointsOf, parseCheckpointName } from '../checkpoint/names.ts';
import { unknownCheckpoint } from '../checkpoint/errors.ts';
import type { Call } from './lib/command.ts';

export type Stored = {
  readonly name: string;
  readonly directory: string;
  /** null: not usable, `reason` says why. */
  readonly manifest: Manifest | null;
  readonly reason: string;
};

const restarted_name = 'restarted';

/** Where the caller's checkpoints are. */
export function place(call: Pick<Call, 'env'>): string {
  const home = call.env['HOME'];
  if (home === undefined || !home.startsWith('/')) throw new XosError('XOS_NO_HOME', 'cannot find your checkpoints: $HOME is not set to a directory; log in as user@vo');
  return checkpointsOf(home);
}

/** All checkpoints, unusable ones as well, by name. */
export async function listStored(call: Pick<Call, 'env'>): Promise<readonly Stored[]> {
  const names = await readdir(place(call)).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw new XosError('XOS_CHECKPOINT_STORE', `cannot list the checkpoints in '${place(call)}': ${error.message}`);
  });
  return await Promise.all(names.filter((name) => !name.startsWith('.')).sort().map((name) => load(call, name)));
}

/** One checkpoint. Throws XOS_BAD_NAME, XOS_CHECKPOINT_UNKNOWN. */
export async function findStored(call: Pick<Call, 'env'>, wanted: string, attempt: string): Promise<Stored> {
  const name = parseCheckpointName(wanted);
  if ((await stat(join(place(call), name)).catch(() => null)) === null) throw unknownCheckpoint(attempt, name);
  return await load(call, name);
}

async function load(call: Pick<Call, 'env'>, name: string): Promise<Stored> {
  const directory = join(place(call), name);
  try {
    const manifest = parseManifest(await readFile(join(directory, manifest_name)), name, 'use');
    for (const file of manifest.files) {
      const size = (await stat(join(directory, file.name)).catch(() => null))?.size;
      if (size !== file.size) return { name, directory, manifest: null, reason: size === undefined ? `its file '${file.name}' is missing` : `its file '${file.name}' is cut off or changed` };
    }
    return { name, directory, manifest, reason: '' };
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    const reason = missing ? 'it was never finished (no manifest)' : error instanceof Error ? error.message : String(error);
    return { name, directory, manifest: null, reason };
  }
}

/** Removes a checkpoint. The manifest goes first: half removed is not there. */
export async function removeStored(stored: Stored): Promise<void> {
  await unlink(join(stored.directory, manifest_name)).catch(() => undefined);
  await rm(stored.directory, { recursive: true, force: true });
}

/** The job that the last restart of it became; empty when there was none. */
export async function earlierJob(stored: Pick<Stored, 'directory'>): Promise<string> {
  const text = await readFile(join(stored.directory, restarted_name), 'utf8').catch(() => '');
  return text.trim().slice(0, 200);
}

/** Best effort: it only helps to refuse a second copy. */
export async function noteRestart(stored: Pick<Stored, 'directory'>, job: string): Promise<void> {
  await writeFile(join(stored.directory, restarted_name), `${job}\n`, { mode: 0o600 }).catch(() => undefined);
}

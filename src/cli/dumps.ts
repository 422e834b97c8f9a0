import { open, rename, rm } from 'node:fs/promises';
import { XosError } from '../core/errors.ts';
import type { TransferAnswer } from '../api/operations/volume.ts';
import { ask } from './lib/api.ts';
import type { Call } from './lib/command.ts';
import type { Progress } from './lib/progress.ts';
import { formatBytes } from './lib/units.ts';

/** Dumps and restores of `xtfsutil`: the file is the caller's, what is in it only the metadata server understands. */

const piece_bytes = 192 * 1024;
/** A restore's last step reads all of it twice and writes it in one transaction. */
const commit_ms = 600_000;

/**
 * Writes the metadata of a volume to a file, which is there when it is whole, or not at all.
 * @returns its bytes
 */
export async function dumpVolume(call: Call, volume: string, path: string, progress: Progress): Promise<number> {
  const part = `${path}.part-${process.pid}`;
  const file = await open(part, 'wx', 0o600).catch((cause: Error) => { throw new XosError('XOS_FILE', `cannot write the dump to '${path}': ${cause.message}`, { path }, { cause }); });
  let transfer = 0;
  try {
    ({ transfer } = await ask(call, 'volume-transfer', { step: 'dump-begin', volume }));
    let bytes = 0;
    for (;;) {
      const { data, end } = await ask(call, 'volume-transfer', { step: 'dump-read', transfer }, { timeout_ms: 60_000 });
      if (end) break;
      const piece = Buffer.from(data, 'base64');
      await file.write(piece);
      bytes += piece.length;
      progress.update(`volume '${volume}': ${formatBytes(bytes)}`);
    }
    transfer = 0;
    await file.sync();
    await file.close();
    await rename(part, path);
    return bytes;
  } catch (thrown) {
    await file.close().catch(() => undefined);
    await rm(part, { force: true });
    await end(call, transfer);
    throw thrown;
  }
}

/** Makes a volume of a dump, or nothing. */
export async function restoreVolume(call: Call, path: string, volume: string, incomplete: boolean, progress: Progress): Promise<TransferAnswer> {
  const file = await open(path, 'r').catch((cause: Error) => { throw new XosError('XOS_FILE', `cannot read the dump '${path}': ${cause.message}`, { path }, { cause }); });
  let transfer = 0;
  try {
    ({ transfer } = await ask(call, 'volume-transfer', { step: 'restore-begin' }));
    const { size } = await file.stat();
    const buffer = Buffer.alloc(piece_bytes);
    for (let bytes = 0; ;) {
      const { bytesRead } = await file.read(buffer, 0, piece_bytes, bytes);
      if (bytesRead === 0) break;
      await ask(call, 'volume-transfer', { step: 'restore-write', transfer, data: buffer.toString('base64', 0, bytesRead) }, { timeout_ms: 60_000 });
      bytes += bytesRead;
      progress.update(`reading the dump: ${formatBytes(bytes)} of ${formatBytes(size)}`);
    }
    progress.update(`making volume '${volume}'`);
    return await ask(call, 'volume-transfer', { step: 'restore-commit', transfer, volume, incomplete }, { timeout_ms: commit_ms });
  } catch (thrown) {
    await end(call, transfer);
    throw thrown;
  } finally {
    await file.close();
  }
}

/** The server keeps nothing for one who has gone; without this it would find out in a minute. Not by the caller's signal, which may be why it ends. */
async function end(call: Call, transfer: number): Promise<void> {
  if (transfer !== 0) await ask({ ...call, signal: AbortSignal.timeout(3000) }, 'volume-transfer', { step: 'transfer-end', transfer }).catch(() => undefined);
}

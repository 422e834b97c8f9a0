import { constants } from 'node:fs';
import { chmod, lchown, lstat, mkdir, open, readFile, readdir, readlink, rename, rm, statfs, symlink, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { randomBytes } from 'node:crypto';
import type { Disk, FileFacts } from '../core/ports.ts';

const errnoOf = (thrown: unknown): string => (thrown as NodeJS.ErrnoException)?.code ?? '';

async function orNull<T>(work: Promise<T>): Promise<T | null> {
  try {
    return await work;
  } catch (thrown) {
    if (errnoOf(thrown) === 'ENOENT' || errnoOf(thrown) === 'ENOTDIR') return null;
    throw thrown;
  }
}

async function writeAtomic(path: string, data: Buffer | string, options: { mode?: number; durable?: boolean } = {}): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}.tmp`);
  // Born with its final mode: a secret is never readable in between.
  const file = await open(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, options.mode ?? 0o600);
  try {
    try {
      await file.chmod(options.mode ?? 0o600); // the umask took its share of the mode above
      await file.writeFile(data);
      if (options.durable !== false) await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (thrown) {
    await rm(temporary, { force: true });
    throw thrown;
  }
  if (options.durable === false) return;
  const directory = await open(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/** A folder held open: names below it are looked up in that folder, whatever its owner makes of the path meanwhile. */
async function holdFolder<T>(path: string, work: (held: string, folder: FileHandle) => Promise<T>): Promise<T> {
  const folder = await open(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  try {
    return await work(`/proc/self/fd/${folder.fd}`, folder);
  } finally {
    await folder.close();
  }
}

/** False when something of that name is there already: another node may fill the same home at the same time. */
async function made(work: Promise<unknown>): Promise<boolean> {
  try {
    await work;
    return true;
  } catch (thrown) {
    if (errnoOf(thrown) === 'EEXIST') return false;
    throw thrown;
  }
}

/**
 * The target's owner may be at work in it (a home, on another node): everything is made through open folders and owned through what was
 * opened, never by a path a second time, so that no link put in between leads elsewhere.
 */
async function copyTree(from: string, to: string, owner: { uid: number; gid: number }, signal?: AbortSignal): Promise<void> {
  await holdFolder(to, (held) => copyInto(from, held, owner, signal));
}

async function copyInto(from: string, held: string, owner: { uid: number; gid: number }, signal?: AbortSignal): Promise<void> {
  for (const entry of await readdir(from, { withFileTypes: true })) {
    signal?.throwIfAborted();
    const source = join(from, entry.name);
    const target = join(held, entry.name);
    if (entry.isDirectory()) {
      if (!(await made(mkdir(target, { mode: 0o700 })))) continue;
      const { mode } = await lstat(source);
      await holdFolder(target, async (below, folder) => {
        await copyInto(source, below, owner, signal);
        await folder.chmod(mode & 0o7777);
        await folder.chown(owner.uid, owner.gid);
      });
    } else if (entry.isSymbolicLink()) {
      if (await made(symlink(await readlink(source), target))) await lchown(target, owner.uid, owner.gid);
    } else if (entry.isFile()) {
      await copyOne(source, target, owner);
    }
    // A device or socket in a skeleton is none of the user's business.
  }
}

async function copyOne(source: string, target: string, owner: { uid: number; gid: number }): Promise<void> {
  let file: FileHandle;
  try {
    file = await open(target, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600);
  } catch (thrown) {
    if (errnoOf(thrown) === 'EEXIST') return;
    throw thrown;
  }
  try {
    await file.writeFile(await readFile(source));
    await file.chmod((await lstat(source)).mode & 0o7777);
    await file.chown(owner.uid, owner.gid);
  } finally {
    await file.close();
  }
}

export const systemDisk: Disk = {
  read: (path) => orNull(readFile(path)),
  writeAtomic,
  async makeDirectory(path, mode = 0o755) {
    await mkdir(path, { recursive: true, mode });
    await chmod(path, mode);
  },
  remove: (path) => rm(path, { recursive: true, force: true }),
  list: async (path) => ((await orNull(readdir(path))) ?? []).sort(),
  async facts(path): Promise<FileFacts | null> {
    const found = await orNull(lstat(path));
    if (found === null) return null;
    const kind = found.isFile() ? 'file' : found.isDirectory() ? 'directory' : found.isSymbolicLink() ? 'symlink' : 'other';
    return { kind, size_bytes: found.size, mode: found.mode & 0o7777, uid: found.uid, gid: found.gid };
  },
  async free(path) {
    const { bavail, bsize } = await statfs(path);
    return bavail * bsize;
  },
  own: (path, { uid, gid }) => lchown(path, uid, gid),
  copyTree,
};

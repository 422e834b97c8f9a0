import { constants } from 'node:fs';
import { chmod, copyFile, lchown, lstat, mkdir, open, readFile, readdir, readlink, rename, rm, symlink } from 'node:fs/promises';
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

async function copyTree(from: string, to: string, owner: { uid: number; gid: number }, signal?: AbortSignal): Promise<void> {
  for (const entry of await readdir(from, { withFileTypes: true })) {
    signal?.throwIfAborted();
    const source = join(from, entry.name);
    const target = join(to, entry.name);
    if ((await orNull(lstat(target))) !== null) continue;
    if (entry.isDirectory()) {
      await mkdir(target, { mode: (await lstat(source)).mode & 0o7777 });
      await copyTree(source, target, owner, signal);
    } else if (entry.isSymbolicLink()) {
      await symlink(await readlink(source), target);
    } else if (entry.isFile()) {
      await copyFile(source, target, constants.COPYFILE_EXCL);
      await chmod(target, (await lstat(source)).mode & 0o7777);
    } else {
      continue; // a device or socket in a skeleton is none of the user's business
    }
    await lchown(target, owner.uid, owner.gid);
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
  own: (path, { uid, gid }) => lchown(path, uid, gid),
  copyTree,
};

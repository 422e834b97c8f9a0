import type { VolumeObject } from '../api/operations/volume.ts';

/** How commands about what is in a volume take it. */
export const pathArgument = { name: 'PATH', summary: 'a file, directory or volume below /grid', complete: 'file' } as const;

/** The file system that a path is on must be ours: its inode numbers are the MRC's. */
export async function objectAt(path: string): Promise<VolumeObject & { readonly inode: number }> {
  const [{ stat, realpath }, { readFile }] = await Promise.all([import('node:fs/promises'), import('node:fs/promises')]);
  const { XosError } = await import('../core/errors.ts');
  const real = await realpath(path).catch((cause: unknown) => { throw new XosError('XOS_NO_FILE', `cannot look at '${path}': ${(cause as Error).message}`, { path }); });
  const mounts = (await readFile('/proc/self/mounts', 'utf8')).split('\n').map((line) => line.split(' '));
  const below = (point: string): boolean => real === point || real.startsWith(point === '/' ? '/' : `${point}/`);
  const unescape = (text: string): string => text.replaceAll(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
  // The longest mount point, and of those the last one, is what is seen there.
  const found = mounts.filter(([, point]) => point !== undefined && below(unescape(point))).reduce<string[] | null>(
    (best, each) => (best === null || unescape(each[1] ?? '').length >= unescape(best[1] ?? '').length ? each : best), null);
  if (found?.[2] !== 'fuse.xtreemfs') throw new XosError('XOS_BAD_ARGUMENT', `cannot look at '${path}': it is not in a volume of XtreemFS but in a file system of type ${found?.[2] ?? 'unknown'}`, { path });
  return { inode: (await stat(real)).ino };
}

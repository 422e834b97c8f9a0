import { mkdir, readFile } from 'node:fs/promises';
import { XosError } from '../core/errors.ts';
import type { Mounts } from '../core/ports.ts';
import * as peer from '../../native/peer/index.ts';

/**
 * mount(2) through native/peer, on libuv's threads: a hung file system holds a thread, never the event loop. /bin/mount is not used: it
 * canonicalises paths (a stat on a dead FUSE mount blocks) and costs 3 ms.
 */
export const systemMounts: Mounts = {
  async alive(path, signal) {
    if (!(await mountPoints()).includes(path)) return false;
    return await bounded(peer.statFileSystem(path), signal).then(() => true, () => false);
  },
  async bind(from, to, signal) {
    await mkdir(to, { recursive: true }).catch((thrown: NodeJS.ErrnoException) => {
      if (thrown.code !== 'EEXIST' && thrown.code !== 'ENOTCONN') throw thrown; // a dead mount is taken away below
    });
    await this.unmount(to);
    await mkdir(to, { recursive: true });
    await bounded(wrapped(peer.mount(from, to, peer.MS_BIND), `bind '${from}' on '${to}'`), signal);
  },
  async unmount(path) {
    // Mounts stack; the bound only keeps a broken mount table from looping for ever. A mount may also have been propagated below
    // another one at the same path: taking the upper one away takes its copy with it, and EINVAL then says that nothing is left.
    for (let count = (await mountPoints()).filter((point) => point === path).length; count > 0; count--) {
      try {
        await peer.unmount(path, peer.MNT_DETACH);
      } catch (cause) {
        if ((cause as NodeJS.ErrnoException).code === 'EINVAL' || /Invalid argument/.test((cause as Error).message)) return;
        await wrapped(Promise.reject(cause as Error), `unmount '${path}'`);
      }
    }
  },
  async list(path) {
    return (await mountPoints()).filter((point) => point === path || point.startsWith(`${path}/`));
  },
  async share(path) {
    await mkdir(path, { recursive: true });
    const mounts = await mountTable();
    const covers = (mount: MountLine): boolean => mount.point === path || mount.point === '/' || path.startsWith(`${mount.point}/`);
    const own = mounts.filter(covers).toSorted((a, b) => a.point.length - b.point.length).at(-1);
    // Where the mount that holds the path is shared already, a bind of the path on itself would only double every mount below it.
    if (own?.shared === true) return;
    if (own?.point !== path) await wrapped(peer.mount(path, path, peer.MS_BIND), `bind '${path}' on itself`);
    await wrapped(peer.mount('none', path, peer.MS_SHARED), `share '${path}'`);
  },
};

interface MountLine {
  readonly point: string;
  readonly shared: boolean;
}

/** proc(5), /proc/[pid]/mountinfo: id parent major:minor root point options optional… - type source options. Blanks are octal escapes. */
async function mountTable(): Promise<readonly MountLine[]> {
  const text = await readFile('/proc/self/mountinfo', 'utf8');
  return text.trimEnd().split('\n').map((line) => {
    const fields = line.split(' ');
    const end = fields.indexOf('-');
    const point = (fields[4] ?? '').replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)));
    return { point, shared: fields.slice(6, end).some((field) => field.startsWith('shared:')) };
  });
}

const mountPoints = async (): Promise<readonly string[]> => (await mountTable()).map((mount) => mount.point);

async function wrapped<T>(work: Promise<T>, attempt: string): Promise<T> {
  try {
    return await work;
  } catch (cause) {
    throw new XosError('XOS_MOUNT', `cannot ${attempt}: ${(cause as Error).message}`, {}, { cause });
  }
}

/** The work itself cannot be taken back; its caller need not wait for it. */
function bounded<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  return new Promise<T>((resolve, reject) => {
    const aborted = (): void => reject(signal.reason as Error);
    if (signal.aborted) return aborted();
    signal.addEventListener('abort', aborted, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', aborted));
  });
}

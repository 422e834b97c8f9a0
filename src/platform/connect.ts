import { connect } from 'node:net';
import type { Duplex } from 'node:stream';

/** Connects to a Unix stream socket. In a file of its own, for x-commands: the rest of `network.ts` brings HTTP along, which takes Node as long to load as all else together. */
export function connectUnix(path: string, signal?: AbortSignal): Promise<Duplex> {
  return new Promise<Duplex>((resolve, reject) => {
    signal?.throwIfAborted();
    const socket = connect({ path });
    const aborted = (): void => void socket.destroy(signal!.reason as Error);
    signal?.addEventListener('abort', aborted, { once: true });
    socket.once('error', reject);
    socket.once('connect', () => {
      signal?.removeEventListener('abort', aborted);
      socket.removeListener('error', reject);
      resolve(socket);
    });
  });
}

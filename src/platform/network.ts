import { createServer, type Socket } from 'node:net';
import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { connectUnix } from './connect.ts';
import { listenHttp } from './http.ts';
import { XosError } from '../core/errors.ts';
import type { Listener, Network, UnixPeer } from '../core/ports.ts';
import { peerCredentials } from '../../native/peer/index.ts';

export const systemNetwork: Network = {
  connectUnix,

  listenUnix(path, mode, accept) {
    return new Promise<Listener>((resolve, reject) => {
      const open = new Set<Socket>();
      // Half-open is allowed: a client may end its side after the request and still get the answer.
      const server = createServer({ allowHalfOpen: true }, (socket) => {
        open.add(socket);
        socket.on('close', () => open.delete(socket));
        socket.on('error', () => socket.destroy());
        const peer = credentialsOf(socket);
        if (peer === null) socket.destroy();
        else accept(socket, peer);
      });
      server.once('error', (cause) => reject(new XosError('XOS_SOCKET', `cannot listen on '${path}': ${cause.message}`, { path }, { cause })));
      mkdirSync(dirname(path), { recursive: true });
      rmSync(path, { force: true });
      // Nobody may connect between bind and chmod.
      const umask = process.umask(0o777 & ~mode);
      server.listen({ path }, () => {
        chmodSync(path, mode);
        resolve({
          close: () =>
            new Promise<void>((closed) => {
              server.close(() => closed());
              for (const socket of open) socket.destroy();
            }),
        });
      });
      process.umask(umask);
    });
  },

  listenHttp,
};

/** The kernel's word about the other end; null when it left before it could be asked. */
function credentialsOf(socket: Socket): UnixPeer | null {
  // The descriptor is only to be had from the handle; libuv keeps it open as long as the socket is not destroyed.
  const fd = (socket as unknown as { _handle: { fd: number } | null })._handle?.fd ?? -1;
  if (fd < 0) return null;
  try {
    return peerCredentials(fd);
  } catch {
    return null;
  }
}

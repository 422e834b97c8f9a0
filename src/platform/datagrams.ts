import { createSocket } from 'node:dgram';
import { XosError } from '../core/errors.ts';
import type { Datagrams, DatagramSocket } from '../core/ports.ts';

/** A burst of fragments from several neighbours must not find the buffer full. */
const buffer_bytes = 1024 * 1024;

export const systemDatagrams: Datagrams = {
  bind(address, port, receive) {
    return new Promise<DatagramSocket>((resolve, reject) => {
      const socket = createSocket({ type: address.includes(':') ? 'udp6' : 'udp4', recvBufferSize: buffer_bytes, sendBufferSize: buffer_bytes });
      let closed = false;
      const failed = (cause: Error): void => reject(new XosError('XOS_SOCKET', `cannot listen on '${address}:${port}' (UDP): ${cause.message}`, { address, port }, { cause }));
      socket.once('error', failed);
      socket.on('message', (bytes, from) => receive(bytes, from.address, from.port));
      socket.bind({ address, port, exclusive: true }, () => {
        socket.removeListener('error', failed);
        // ICMP tells of a port where nobody listens: that is what time-outs find, too.
        socket.on('error', () => {});
        resolve({
          port: socket.address().port,
          send: (data, to, to_port) => { if (!closed) socket.send(data, to_port, to, () => {}); },
          close: () => new Promise((done) => {
            if (closed) return done();
            closed = true;
            socket.close(() => done());
          }),
        });
      });
    });
  },
};

import { createSocket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';

// A documentation address (RFC 5737): nothing is sent there, the kernel only says by which of its addresses it would go.
const elsewhere = { address: '198.51.100.1', port: 9 };

/** The address of this machine that others see: the one by which it would reach `peer`, or the world. Null when there is only loopback. */
export async function ownAddress(peer: { readonly address: string; readonly port: number } = elsewhere): Promise<string | null> {
  const routed = await source(peer.address, peer.port);
  if (routed !== null && (!isLoopback(routed) || peer !== elsewhere)) return routed;
  const found = Object.values(networkInterfaces()).flat().find((each) => each !== undefined && !each.internal && each.family === 'IPv4');
  return found?.address ?? null;
}

const isLoopback = (address: string): boolean => address.startsWith('127.') || address === '::1';

function source(address: string, port: number): Promise<string | null> {
  return new Promise((resolve) => {
    const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4');
    const done = (found: string | null): void => {
      socket.removeAllListeners();
      socket.on('error', () => {});
      socket.close();
      resolve(found);
    };
    socket.once('error', () => done(null));
    socket.connect(port, address, (...failure: unknown[]) => done(failure[0] instanceof Error ? null : socket.address().address));
  });
}

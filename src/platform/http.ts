import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, XosError } from '../core/errors.ts';
import type { HttpAnswer, Network } from '../core/ports.ts';

const answer_ms = 10_000;
const connections_max = 16;

/** Network.listenHttp: a few readers on this machine, no bodies, nothing kept open for long. */
export const listenHttp: Network['listenHttp'] = (port, answer) =>
  new Promise((resolve, reject) => {
    const server = createServer({ requestTimeout: answer_ms, headersTimeout: answer_ms, keepAliveTimeout: answer_ms, maxHeaderSize: 8192 }, (request, response) => void serve(request, response, answer));
    server.maxConnections = connections_max;
    server.once('error', (cause) => reject(new XosError('XOS_SOCKET', `cannot listen on '127.0.0.1:${port}': ${cause.message}`, { port }, { cause })));
    server.listen({ host: '127.0.0.1', port }, () =>
      resolve({
        port: (server.address() as AddressInfo).port,
        close: () => new Promise<void>((closed) => {
          server.close(() => closed());
          server.closeAllConnections();
        }),
      }));
  });

async function serve(request: IncomingMessage, response: ServerResponse, answer: (path: string, signal: AbortSignal) => Promise<HttpAnswer | null>): Promise<void> {
  const gone = new AbortController();
  response.on('close', () => gone.abort());
  response.on('error', () => gone.abort());
  const end = (status: number, { type, body }: HttpAnswer): void => {
    if (!response.destroyed) response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body), 'cache-control': 'no-store' }).end(request.method === 'HEAD' ? undefined : body);
  };
  const say = (status: number, text: string): void => end(status, { type: 'text/plain; charset=utf-8', body: `${text}\n` });
  if (request.method !== 'GET' && request.method !== 'HEAD') return say(405, 'only GET is answered here');
  try {
    const found = await answer(new URL(request.url ?? '/', 'http://localhost').pathname, AbortSignal.any([gone.signal, AbortSignal.timeout(answer_ms)]));
    if (found === null) say(404, 'there is nothing here; look at /metrics');
    else end(200, found);
  } catch (thrown) {
    say(503, describe(thrown));
  }
}

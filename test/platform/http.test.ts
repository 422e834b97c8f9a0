import { request } from 'node:http';
import test from 'ava';
import { listenHttp } from '../../src/platform/http.ts';

const ask = (port: number, path: string, method = 'GET'): Promise<{ status: number; type: string; body: string }> =>
  new Promise((resolve, reject) => {
    request({ host: '127.0.0.1', port, path, method }, (response) => {
      let body = '';
      response.on('data', (chunk: Buffer) => { body += chunk.toString(); }).on('end', () => resolve({ status: response.statusCode ?? 0, type: response.headers['content-type'] ?? '', body }));
    }).on('error', reject).end();
  });

test('what is there is answered, the rest is refused', async (t) => {
  const server = await listenHttp(0, async (path) => {
    if (path === '/broken') throw new Error('no answer today');
    return path === '/metrics' ? { type: 'text/plain; version=0.0.4', body: 'xos_a 1\n' } : null;
  });
  t.deepEqual(await ask(server.port, '/metrics?x=1'), { status: 200, type: 'text/plain; version=0.0.4', body: 'xos_a 1\n' });
  t.is((await ask(server.port, '/other')).status, 404);
  t.is((await ask(server.port, '/metrics', 'POST')).status, 405);
  t.deepEqual(await ask(server.port, '/metrics', 'HEAD'), { status: 200, type: 'text/plain; version=0.0.4', body: '' });
  const broken = await ask(server.port, '/broken');
  t.is(broken.status, 503);
  t.regex(broken.body, /no answer today/);
  await server.close();
  await t.throwsAsync(ask(server.port, '/metrics'));
});

test('a port that is taken is an error with a code', async (t) => {
  const server = await listenHttp(0, async () => null);
  await t.throwsAsync(listenHttp(server.port, async () => null), { code: 'XOS_SOCKET' });
  await server.close();
});

// A control server and its clients over a real Unix socket.
import test from 'ava';
import { connect } from 'node:net';
import { mkdtemp, rm } from 'node:fs/promises';
import { XosError } from '../../src/core/errors.ts';
import { limits } from '../../src/core/limits.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { ControlServer, ReconnectingControlClient, controlRequest, type ControlHandler } from '../../src/platform/control.ts';
import { systemNetwork } from '../../src/platform/network.ts';
import { keptLog, quietLog } from '../support/ports.ts';

function withResolvers(): { promise: Promise<void>; resolve: () => void } {
  let resolve = (): void => {};
  const promise = new Promise<void>((done) => (resolve = done));
  return { promise, resolve };
}

const ports = { network: systemNetwork, clock: systemClock, log: quietLog };

async function place(t: import('ava').ExecutionContext): Promise<string> {
  const directory = await mkdtemp('/tmp/xos-ctl-');
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  return `${directory}/test.ctl`;
}

async function serve(t: import('ava').ExecutionContext, handler: ControlHandler): Promise<{ path: string; server: ControlServer }> {
  const path = await place(t);
  const server = new ControlServer(ports, path, 0o600, handler);
  await server.start();
  t.teardown(() => server.stop());
  return { path, server };
}

function client(t: import('ava').ExecutionContext, path: string): ReconnectingControlClient {
  const made = new ReconnectingControlClient(path, ports);
  made.start();
  t.teardown(() => made.close());
  return made;
}

const connected = (control: ReconnectingControlClient): Promise<void> => new Promise((resolve) => {
  const stop = control.onConnect(() => (queueMicrotask(() => stop()), resolve()));
});

/** Sends bytes as they are and collects what comes back until the other side ends. */
const raw = (path: string, bytes: string | Buffer): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = connect({ path });
    let text = '';
    socket.on('data', (chunk) => (text += chunk.toString()));
    socket.on('close', () => resolve(text));
    socket.on('error', reject);
    socket.write(bytes);
  });

test('every request of many at once gets its own answer, and sees who asks', async (t) => {
  const { path } = await serve(t, async (op, fields, call) => ({ op, twice: Number(fields['number']) * 2, uid: call.peer.uid, pid: call.peer.pid }));
  const control = client(t, path);
  await connected(control);
  const answers = await Promise.all(Array.from({ length: 200 }, (_, number) => control.request<{ twice: number; op: string; uid: number; pid: number }>('double', { number })));
  answers.forEach(({ twice, op, uid, pid }, number) => {
    t.is(twice, number * 2);
    t.is(op, 'double');
    t.is(uid, process.getuid!());
    t.is(pid, process.pid);
  });
});

test('an error arrives with code, message and data', async (t) => {
  const { path } = await serve(t, async () => {
    throw new XosError('XOS_EXAMPLE', "cannot do it to 'x'", { x: 1 });
  });
  const refused = await t.throwsAsync<XosError>(controlRequest(ports, path, 'any', {}));
  t.is(refused.code, 'XOS_EXAMPLE');
  t.deepEqual(refused.data, { x: 1 });
});

test('an unforeseen error tells its cause to the log and no path to the caller', async (t) => {
  const path = await place(t);
  const { log, lines } = keptLog();
  const server = new ControlServer({ ...ports, log }, path, 0o600, async () => JSON.parse('{') as object);
  await server.start();
  t.teardown(() => server.stop());
  const refused = await t.throwsAsync<XosError>(controlRequest(ports, path, 'any', {}));
  t.is(refused.code, 'XOS_INTERNAL');
  t.regex(lines.join('\n'), /a request failed/);
});

test('progress comes before the answer, in order', async (t) => {
  const { path } = await serve(t, async (_op, _fields, call) => {
    for (let step = 1; step <= 3; step++) call.progress({ step });
    return { done: true };
  });
  const seen: unknown[] = [];
  t.deepEqual(await controlRequest(ports, path, 'work', {}, { onProgress: (more) => seen.push(more) }), { done: true });
  t.deepEqual(seen, [{ step: 1 }, { step: 2 }, { step: 3 }]);
});

test('a request that is given up is aborted on the other side, and the connection goes on', async (t) => {
  const aborted = withResolvers();
  const { path } = await serve(t, async (op, _fields, call) => {
    if (op === 'quick') return { quick: true };
    await new Promise<void>((resolve) => call.signal.addEventListener('abort', () => resolve()));
    aborted.resolve();
    return {};
  });
  const control = client(t, path);
  await connected(control);
  const late = await t.throwsAsync<XosError>(control.request('slow', {}, { timeout_ms: 30 }));
  t.is(late.code, 'XOS_TIMEOUT');
  await aborted.promise;
  const controller = new AbortController();
  const given = control.request('slow', {}, { signal: controller.signal });
  controller.abort();
  t.is((await t.throwsAsync<XosError>(given)).code, 'XOS_ABORTED');
  t.deepEqual(await control.request('quick'), { quick: true });
});

test('a client that goes away aborts what it asked for', async (t) => {
  const aborted = withResolvers();
  const started = withResolvers();
  const { path } = await serve(t, async (_op, _fields, call) => {
    call.signal.addEventListener('abort', () => aborted.resolve());
    started.resolve();
    await aborted.promise;
    return {};
  });
  const socket = connect({ path });
  socket.on('error', () => {});
  socket.write('{"id":1,"op":"wait"}\n');
  await started.promise;
  socket.destroy();
  await aborted.promise;
  t.pass();
});

test('events reach every controller, and a reconnected one', async (t) => {
  const { path, server } = await serve(t, async () => ({}));
  const controls = [client(t, path), client(t, path)];
  await Promise.all(controls.map(connected));
  await Promise.all(controls.map((control) => control.request('known')));
  const heard = controls.map((control) => new Promise<unknown>((resolve) => control.onEvent<{ n: number }>('tick', (event) => resolve(event.n))));
  server.emit({ event: 'tick', n: 5 });
  t.deepEqual(await Promise.all(heard), [5, 5]);
});

test('a server that restarts is found again; requests in between say that it is away', async (t) => {
  const { path, server } = await serve(t, async (op) => {
    if (op === 'hang') await new Promise(() => {});
    return {};
  });
  const control = client(t, path);
  t.is((await t.throwsAsync<XosError>(new ReconnectingControlClient(path, ports).request('early'))).code, 'XOS_UNAVAILABLE');
  await connected(control);
  const lost = control.request('hang');
  const gone = new Promise<void>((resolve) => control.onDisconnect(() => resolve()));
  await server.stop();
  t.is((await t.throwsAsync<XosError>(lost)).code, 'XOS_UNAVAILABLE');
  await gone;
  t.false(control.connected);
  t.is((await t.throwsAsync<XosError>(control.request('now'))).code, 'XOS_UNAVAILABLE');
  const again = connected(control);
  await server.start();
  await again;
  t.deepEqual(await control.request('now'), {});
});

test('nobody there: XOS_UNAVAILABLE that names the socket', async (t) => {
  const path = await place(t);
  const refused = await t.throwsAsync<XosError>(controlRequest(ports, path, 'any', {}));
  t.is(refused.code, 'XOS_UNAVAILABLE');
  t.true(refused.message.includes(path));
});

for (const [what, bytes] of [
  ['no JSON', 'hello\n'],
  ['a JSON array', '[1]\n'],
  ['null', 'null\n'],
] as const) {
  test(`hostile input: ${what} is answered and the connection ended`, async (t) => {
    const { path } = await serve(t, async () => ({}));
    t.regex(await raw(path, bytes), /XOS_MALFORMED/);
  });
}

test('hostile input: a request without op or with a bad id is refused, and does not end the others', async (t) => {
  const { path } = await serve(t, async () => ({ fine: true }));
  const lines = await new Promise<string[]>((resolve) => {
    const socket = connect({ path });
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk.toString();
      const found = text.trim().split('\n');
      if (found.length === 4) socket.destroy(), resolve(found);
    });
    socket.write('{"id":1}\n{"op":"x"}\n{"id":"a","op":"x"}\n{"id":2,"op":"x"}\n');
  });
  const answers = lines.map((line) => JSON.parse(line) as { id: number; ok: boolean });
  t.is(answers.filter((answer) => answer.ok).length, 1);
  t.is(answers.find((answer) => answer.ok)?.id, 2);
});

test('hostile input: a line beyond the bound ends the connection and nothing else', async (t) => {
  const { path } = await serve(t, async () => ({ fine: true }));
  t.is(await raw(path, Buffer.alloc(limits.control_line_bytes_max + 10, 'x')).catch(() => ''), '');
  t.deepEqual(await controlRequest(ports, path, 'still', {}), { fine: true });
});

test('the largest line passes', async (t) => {
  const { path } = await serve(t, async (_op, fields) => ({ size: String(fields['text']).length }));
  const text = 'x'.repeat(limits.control_line_bytes_max - 100);
  t.deepEqual(await controlRequest(ports, path, 'big', { text }), { size: text.length });
});

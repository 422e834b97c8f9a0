// Real xosd processes on loopback, their overlay over UDP. Needs root.
//   n1 (registry) <--- sealed datagrams ---> n2, n3
import anyTest, { type ExecutionContext } from 'ava';
import { callApi } from '../../../src/api/client.ts';
import type { OverlayStatus, TopicGap, TopicMessage } from '../../../src/api/operations/overlay.ts';
import { Xosd } from '../../support/xosd.ts';

const test = process.getuid?.() === 0 ? anyTest.serial : anyTest.serial.skip;
if (process.getuid?.() !== 0) console.log('skip overlay of xosd processes: needs root');

async function founded(t: ExecutionContext): Promise<Xosd> {
  t.timeout(40_000);
  const n1 = await Xosd.create(t, 'n1', { roles: ['registry', 'relay'] });
  await n1.start();
  await n1.until(({ state }) => state === 'waiting');
  await n1.api('vo-create', { vo: 'demo' });
  return n1;
}

async function joined(t: ExecutionContext, n1: Xosd, name: string, config: object = {}): Promise<Xosd> {
  const { token } = await n1.api('node-invite', { node: name });
  const node = await Xosd.create(t, name, { join: token, ...config });
  await node.start();
  await node.until(({ state, services }) => state === 'ready' || (state === 'degraded' && services.every(({ name: service, up }) => up || service === 'overlay')));
  return node;
}

async function linked(node: Xosd, holds: (status: OverlayStatus) => boolean): Promise<OverlayStatus> {
  for (;;) {
    const status = await node.api('overlay-status', {}).catch(() => null);
    if (status !== null && holds(status)) return status;
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
}

interface Reader { readonly messages: TopicMessage[]; readonly gaps: TopicGap[]; stop(): Promise<void>; until(count: number): Promise<void> }

/** A subscription of root's; resolves when it stands. */
async function read(t: ExecutionContext, node: Xosd, request: { pattern: string; filter?: string; replay?: boolean; after?: Record<string, { epoch: number; seq: number }> }): Promise<Reader> {
  const controller = new AbortController();
  const messages: TopicMessage[] = [];
  const gaps: TopicGap[] = [];
  let [wake, stands] = [(): void => {}, (): void => {}];
  const standing = new Promise<void>((resolve) => { stands = resolve; });
  const ended = callApi('topic-subscribe', request, {
    run: `${node.directory}/run`, signal: controller.signal, timeout_ms: null,
    onProgress: (portion) => { messages.push(...portion.messages); gaps.push(...portion.gaps); stands(); wake(); },
  }).catch((thrown: unknown) => { if (!controller.signal.aborted) throw thrown; });
  t.teardown(() => controller.abort());
  await Promise.race([standing, ended]);
  return {
    messages, gaps,
    stop: async () => { controller.abort(); await ended; },
    until: async (count) => { while (messages.length < count) await new Promise<void>((resolve) => { wake = resolve; }); },
  };
}

test('a message reaches subscribers on every node, in order, filtered where they are', async (t) => {
  const n1 = await founded(t);
  const n2 = await joined(t, n1, 'n2');
  const n3 = await joined(t, n1, 'n3');
  for (const node of [n1, n2, n3]) await linked(node, ({ links }) => links.length === 2);
  const all = await read(t, n3, { pattern: 'demo/app/#' });
  const some = await read(t, n2, { pattern: 'demo/app/+/state', filter: 'number >= 5' });
  const confirmations: boolean[] = [];
  for (let number = 0; number < 10; number++) {
    const { confirmed, node } = await n1.api('topic-publish', { topic: 'demo/app/test/state', text: JSON.stringify({ number }) });
    confirmations.push(confirmed);
    t.is(node, 'n1');
  }
  // False says that no neighbour answered within a second, which a busy machine may well take.
  t.true(confirmations.includes(true));
  await all.until(10);
  await some.until(5);
  t.deepEqual(all.messages.map(({ text }) => JSON.parse(text ?? '{}').number), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  t.deepEqual(some.messages.map(({ text }) => JSON.parse(text ?? '{}').number), [5, 6, 7, 8, 9]);
  t.deepEqual(all.gaps, []);
});

test('a node that was away gets what it missed, once, after the position that its subscriber kept', async (t) => {
  const n1 = await founded(t);
  const n2 = await joined(t, n1, 'n2');
  await linked(n2, ({ links }) => links.length === 1);
  const before = await read(t, n2, { pattern: 'demo/app/#' });
  await n1.api('topic-publish', { topic: 'demo/app/a', text: 'first' });
  await before.until(1);
  const { node, epoch, seq } = before.messages[0]!;
  await before.stop();
  await n2.end('SIGKILL');
  for (const text of ['second', 'third']) await n1.api('topic-publish', { topic: 'demo/app/a', text });
  await n2.start();
  await linked(n2, ({ links }) => links.length === 1);
  const after = await read(t, n2, { pattern: 'demo/app/#', after: { [node]: { epoch, seq } } });
  await after.until(2);
  t.deepEqual(after.messages.map(({ text }) => text), ['second', 'third']);
  t.deepEqual(after.gaps, []);
});

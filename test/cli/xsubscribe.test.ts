import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { Command } from '../../src/cli/lib/command.ts';
import { command as declared } from '../../src/cli/xsubscribe.ts';
import { overlayNode, test, type OverlayNode } from './overlay.ts';

const command = declared as Command;
const publish = (node: OverlayNode, topic: string, text: string): Promise<unknown> => node.xosd.api('topic-publish', { topic, text });
const subscriptions = async (node: OverlayNode): Promise<number> => (await node.xosd.api('overlay-status', {})).subscriptions;
async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 20));
}

test('messages are printed as they come, filtered, so many as were asked for', async (t) => {
  const node = await overlayNode(t);
  const reading = node.run(command, ['demo/app/+/state', '-f', 'n >= 2', '-n', '2', '--json']);
  await until(async () => (await subscriptions(node)) === 1);
  for (const n of [1, 2, 3]) await publish(node, 'demo/app/a/state', JSON.stringify({ n }));
  const { status, out } = await reading;
  t.is(status, 0);
  t.deepEqual(out.trim().split('\n').map((line) => JSON.parse((JSON.parse(line) as { text: string }).text)), [{ n: 2 }, { n: 3 }]);
  await until(async () => (await subscriptions(node)) === 0);
});

test('^C ends it, and its subscription', async (t) => {
  const node = await overlayNode(t);
  const controller = new AbortController();
  const reading = node.run(command, ['demo/app/#'], controller.signal);
  await until(async () => (await subscriptions(node)) === 1);
  controller.abort(new DOMException('interrupted', 'AbortError'));
  t.deepEqual(await reading, { status: 130, out: '', err: '' });
  await until(async () => (await subscriptions(node)) === 0);
});

test('a kept place goes on after what was read, over a restart of xosd', async (t) => {
  const node = await overlayNode(t);
  const directory = mkdtempSync('/tmp/xsubscribe-');
  t.teardown(() => rmSync(directory, { recursive: true }));
  const place = `${directory}/place`;
  const read = (count: number): ReturnType<OverlayNode['run']> => node.run(command, ['demo/app/a', '-k', place, '-n', `${count}`]);
  const first = read(1);
  await until(async () => (await subscriptions(node)) === 1);
  await publish(node, 'demo/app/a', 'one');
  t.is((await first).out, 'demo/app/a one\n');
  t.is(Object.keys(JSON.parse(readFileSync(place, 'utf8')) as object).join(), 'n1');
  await publish(node, 'demo/app/a', 'two');
  await publish(node, 'demo/app/a', 'three');
  t.is((await read(2)).out, 'demo/app/a two\ndemo/app/a three\n');
  await until(async () => (await subscriptions(node)) === 0);
  const waiting = node.run(command, ['demo/app/a', '-k', place, '-n', '1']);
  await until(async () => (await subscriptions(node)) === 1);
  await node.xosd.end('SIGKILL');
  await node.xosd.start();
  await until(async () => (await subscriptions(node).catch(() => 0)) === 1);
  await publish(node, 'demo/app/a', 'after');
  const { out, err } = await waiting;
  t.is(out, 'demo/app/a after\n');
  t.is(err, 'xsubscribe: xosd is away; going on when it is back\n');
});

test('what cannot be subscribed to, and files that are none', async (t) => {
  const node = await overlayNode(t);
  const directory = mkdtempSync('/tmp/xsubscribe-');
  t.teardown(() => rmSync(directory, { recursive: true }));
  writeFileSync(`${directory}/broken`, '{');
  writeFileSync(`${directory}/wrong`, '{"n1": {"epoch": "x"}}');
  for (const [argv, words] of [
    [['demo/#/a'], /only be the last level/], [['#'], /first level is the VO/], [['other/#'], /belongs to VO 'demo'/], [['demo/app/a', '-f', 'a = '], /at character 5: a value is expected/],
    [['demo/app/a', '-k', `${directory}/broken`], /cannot go on after/], [['demo/app/a', '-k', `${directory}/wrong`], /positions to go on after/],
  ] as const) {
    const { status, err } = await node.run(command, argv);
    t.is(status, 1, argv.join(' '));
    t.regex(err, words);
  }
});

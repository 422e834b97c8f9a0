import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { Command } from '../../src/cli/lib/command.ts';
import { command as declared } from '../../src/cli/xpublish.ts';
import { command as subscribe } from '../../src/cli/xsubscribe.ts';
import { overlayNode, test } from './overlay.ts';

const command = declared as Command;

test('a message is a word, a file or bytes; alone it is said that nobody else has it', async (t) => {
  const node = await overlayNode(t);
  const directory = mkdtempSync('/tmp/xpublish-');
  t.teardown(() => rmSync(directory, { recursive: true }));
  writeFileSync(`${directory}/text`, 'from a file\n');
  writeFileSync(`${directory}/bytes`, Buffer.from([0, 255, 128]));
  t.deepEqual(await node.run(command, ['demo/app/a', 'hello']), { status: 0, out: '', err: 'xpublish: no other node is within reach now; the message is kept here for them\n' });
  for (const name of ['text', 'bytes']) t.deepEqual(await node.run(command, ['-q', 'demo/app/a', '-f', `${directory}/${name}`]), { status: 0, out: '', err: '' });
  t.is((await node.run(subscribe as Command, ['-r', '-n', '3', 'demo/app/a'])).out, 'demo/app/a hello\ndemo/app/a from a file\\n\ndemo/app/a (3 bytes)\n');
});

test('what cannot be published', async (t) => {
  const node = await overlayNode(t);
  const directory = mkdtempSync('/tmp/xpublish-');
  t.teardown(() => rmSync(directory, { recursive: true }));
  writeFileSync(`${directory}/most`, 'x'.repeat(48 * 1024));
  writeFileSync(`${directory}/more`, 'x'.repeat(48 * 1024 + 1));
  t.is((await node.run(command, ['-q', 'demo/app/a', '-f', `${directory}/most`])).status, 0);
  for (const [argv, status, words] of [
    [['demo/app/a', '-f', `${directory}/more`], 1, /has 49153 bytes, 49152 are allowed/], [['demo/app/a'], 2, /either a MESSAGE or --file/], [['demo/app/a', 'x', '-f', '-'], 2, /either/],
    [['demo/+', 'x'], 1, /published on one topic/], [['', 'x'], 1, /write it as VO/], [['other/a', 'x'], 1, /belongs to VO 'demo'/], [['demo/app/a', '-f', `${directory}/none`], 1, /cannot read the message/],
    [['demo/jobs/n2-1/state', 'x'], 1, /not one of node 'n1'/],
  ] as const) {
    const found = await node.run(command, argv);
    t.is(found.status, status, argv.join(' '));
    t.regex(found.err, words);
  }
});

#!/usr/lib/xos/bin/node
import { ask } from './lib/api.ts';
import { commonExitStatus, defineCommand } from './lib/command.ts';
import { runIfMain } from './lib/main.ts';
import { UsageError } from './lib/parse.ts';

export const command = defineCommand({
  name: 'xpublish',
  summary: 'publish a message on a topic of the VO',
  description: [
    'Sends MESSAGE, or what a file or standard input holds, to all who subscribe to TOPIC, on whichever node they are. A topic is words separated by `/`; the first is the VO, and below VO`/app` every member may publish.',
    'A message has at most 48 KiB. Messages of one node arrive in the order in which they were published. When xpublish ends with 0, a second node has the message, or there is none within reach (then it says so); nodes that are away get it when they are back, as long as the history of their neighbours goes (some ten minutes).',
  ],
  synopsis: ['[--quiet] TOPIC MESSAGE', '[--quiet] TOPIC --file FILE|-'],
  options: {
    file: { kind: 'text', short: 'f', value: 'FILE', summary: 'send what FILE holds; `-` is standard input', complete: 'file' },
    quiet: { kind: 'flag', short: 'q', summary: 'say nothing when no other node is within reach' },
  },
  arguments: [{ name: 'TOPIC', summary: 'where to publish, for instance demo/app/news' }, { name: 'MESSAGE', summary: 'the message', optional: true }],
  examples: [
    { text: 'tell everybody', line: `xpublish demo/app/build/state '{"state": "done", "failed": 0}'` },
    { text: 'each line of a log as a message', line: 'tail -f log | while read -r line; do xpublish demo/app/log "$line"; done' },
  ],
  exitStatus: commonExitStatus,
  seeAlso: [['xsubscribe', 1], ['xquery', 1], ['xos', 7]],
  run: async (call) => {
    const [topic = '', message] = call.args;
    const { file, quiet } = call.options;
    if ((message === undefined) === (file === undefined)) throw new UsageError('give either a MESSAGE or --file');
    const payload = file === undefined ? Buffer.from(message!, 'utf8') : await read(file, call.signal);
    const text = payload.toString('utf8');
    const { confirmed } = await ask(call, 'topic-publish', { topic, ...(Buffer.from(text, 'utf8').equals(payload) ? { text } : { base64: payload.toString('base64') }) });
    if (!confirmed && !quiet) call.note('no other node is within reach now; the message is kept here for them');
  },
});

/** One byte more than may be sent, so that xosd says what is too long. */
const bytes_max = 48 * 1024 + 1;

async function read(path: string, signal: AbortSignal): Promise<Buffer> {
  const { createReadStream } = await import('node:fs');
  const parts: Buffer[] = [];
  let bytes = 0;
  try {
    const stream = path === '-' ? process.stdin : createReadStream(path, { end: bytes_max - 1 });
    signal.addEventListener('abort', () => stream.destroy(signal.reason as Error), { once: true });
    for await (const part of stream) {
      parts.push(part as Buffer);
      bytes += (part as Buffer).length;
      if (bytes >= bytes_max) break;
    }
  } catch (cause) {
    signal.throwIfAborted();
    throw Object.assign(new Error(`cannot read the message from '${path}': ${(cause as Error).message}`, { cause }), { code: 'XOS_FILE' });
  }
  return Buffer.concat(parts).subarray(0, bytes_max);
}

await runIfMain(import.meta, command);

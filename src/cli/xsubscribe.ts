#!/usr/lib/xos/bin/node
import type { Positions, TopicGap, TopicMessage } from '../api/operations/overlay.ts';
import { ask } from './lib/api.ts';
import { commonExitStatus, defineCommand, type Call } from './lib/command.ts';
import { runIfMain } from './lib/main.ts';
import { printable } from './lib/text.ts';

const retry_ms = 1_000;

export const command = defineCommand({
  name: 'xsubscribe',
  summary: 'print the messages of a topic as they come',
  description: [
    'Prints what is published on the topics that PATTERN names, on whichever node, until ^C. In a pattern `+` stands for one word and `#`, at the end, for all that follow: `demo/app/+/state`, `demo/app/#`. Members may subscribe below VO`/app`, and to VO`/jobs` for their own jobs; administrators and root to everything.',
    'Messages of one node come in the order in which they were published. What a node missed while it was away its neighbours give it; when they do not have it any more, a line on stderr says how much was missed.',
    'A filter looks into messages that are JSON objects: `state = ended and exit_code != 0`, `size in 1MiB..1GiB or name ~ \'gcc*\'`, `exists error`, `not (host in {a, b})`. `$topic`, `$node`, `$user` and `$size` are those of the message itself. A comparison with a field that is not there is false.',
    'When xosd is restarted, xsubscribe goes on where it was.',
  ],
  options: {
    filter: { kind: 'text', short: 'f', value: 'FILTER', summary: 'only messages for which this holds' },
    count: { kind: 'number', short: 'n', value: 'N', min: 1, integer: true, summary: 'end after N messages' },
    replay: { kind: 'flag', short: 'r', summary: 'first what was published in the last minutes, as far as this node still has it' },
    keep: { kind: 'text', short: 'k', value: 'FILE', summary: 'remember in FILE how far was read, and go on after it the next time', complete: 'file' },
    json: { kind: 'flag', summary: 'print each message as a line of JSON' },
  },
  arguments: [{ name: 'PATTERN', summary: 'topics, for instance demo/app/#' }],
  examples: [
    { text: 'jobs of mine that failed', line: `xsubscribe demo/jobs/+/state --filter 'state = ended and exit_code != 0' --json` },
    { text: 'wait for one message', line: 'xsubscribe -n 1 demo/app/build/state' },
  ],
  exitStatus: [{ status: '0', meaning: 'N messages were printed' }, commonExitStatus[1]!, commonExitStatus[2]!, { status: '130', meaning: 'ended by ^C' }],
  seeAlso: [['xpublish', 1], ['xquery', 1], ['xos', 7]],
  run: async (call) => {
    const { keep, count } = call.options;
    const reader = new Reader(call as unknown as Call, keep === undefined ? {} : await load(keep), count ?? Number.POSITIVE_INFINITY);
    try {
      await reader.run(call.args[0] ?? '');
    } finally {
      if (keep !== undefined) await save(keep, reader.positions);
    }
  },
});

/** One run of the command: prints, counts, and remembers how far it came. */
class Reader {
  readonly #call: Call;
  readonly #positions = new Map<string, { readonly epoch: number; readonly seq: number }>();
  readonly #enough = new AbortController();
  #left: number;
  #stood = false;

  constructor(call: Call, positions: Positions, count: number) {
    this.#call = call;
    this.#left = count;
    for (const [node, position] of Object.entries(positions)) this.#positions.set(node, position);
  }

  get positions(): Positions {
    return Object.fromEntries(this.#positions);
  }

  async run(pattern: string): Promise<void> {
    const { signal } = this.#call;
    for (let told = false; ;) {
      try {
        await this.#subscribe(pattern);
      } catch (thrown) {
        if (this.#enough.signal.aborted && !signal.aborted) return;
        // Only what was once there is waited for: a node without xosd is an error.
        if (signal.aborted || !this.#stood || (thrown as { code?: string }).code !== 'XOS_UNAVAILABLE') throw thrown;
        if (!told) this.#call.note('xosd is away; going on when it is back');
        told = true;
        await pause(signal);
      }
    }
  }

  async #subscribe(pattern: string): Promise<void> {
    const { options, signal } = this.#call;
    const filter = options['filter'];
    await ask({ ...this.#call, signal: AbortSignal.any([signal, this.#enough.signal]) }, 'topic-subscribe', {
      pattern, after: this.positions, ...(typeof filter === 'string' ? { filter } : {}), ...(options['replay'] === true && !this.#stood ? { replay: true } : {}),
    }, {
      timeout_ms: null,
      onProgress: ({ messages, gaps }) => {
        this.#stood = true;
        for (const gap of gaps) this.#gap(gap);
        for (const message of messages) this.#print(message);
      },
    });
  }

  #print(message: TopicMessage): void {
    if (this.#left === 0) return;
    const { out, options } = this.#call;
    const { more: _more, ...shown } = message;
    out.write(options['json'] === true ? `${JSON.stringify(shown)}\n` : `${message.topic} ${printable(message.text ?? `(${Buffer.byteLength(message.base64 ?? '', 'base64')} bytes)`)}\n`);
    if (message.more !== true) this.#positions.set(message.node, { epoch: message.epoch, seq: message.seq });
    if (--this.#left === 0) this.#enough.abort();
  }

  #gap({ node, missed, why }: TopicGap): void {
    this.#call.note(`${missed === 0 ? 'some' : missed} messages${node === '' ? '' : ` of node '${node}'`} were missed: ${why}`);
  }
}

async function pause(signal: AbortSignal): Promise<void> {
  const { setTimeout } = await import('node:timers/promises');
  await setTimeout(retry_ms, undefined, { signal });
}

async function load(path: string): Promise<Positions> {
  const { readFile } = await import('node:fs/promises');
  try {
    return JSON.parse(await readFile(path, 'utf8')) as Positions;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw Object.assign(new Error(`cannot go on after '${path}': ${(cause as Error).message}; remove it to begin anew`, { cause }), { code: 'XOS_FILE' });
  }
}

async function save(path: string, positions: Positions): Promise<void> {
  const { rename, writeFile } = await import('node:fs/promises');
  try {
    await writeFile(`${path}.new`, `${JSON.stringify(positions)}\n`);
    await rename(`${path}.new`, path);
  } catch (cause) {
    throw Object.assign(new Error(`cannot remember in '${path}' how far was read: ${(cause as Error).message}`, { cause }), { code: 'XOS_FILE' });
  }
}

await runIfMain(import.meta, command);

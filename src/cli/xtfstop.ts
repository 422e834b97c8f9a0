#!/usr/lib/xos/bin/node
import { ask } from './lib/api.ts';
import { commonExitStatus, defineCommand, type Call } from './lib/command.ts';
import { runIfMain } from './lib/main.ts';
import { tableWidth } from './lib/table.ts';
import { formatTime } from './lib/units.ts';
import { figuresOf, sampleOf, type Sample } from './top/figures.ts';
import { orders, render, type Order, type View } from './top/view.ts';

/** What a volume uses is counted by looking at all its inodes: not with every picture. */
const usage_ms = 60_000;

const options = {
  once: { kind: 'flag', summary: 'print one picture as text, without control characters, and end' },
  delay: { kind: 'number', short: 'd', value: 'SECONDS', unit: 'seconds', min: 0.2, max: 3600, summary: 'time between two pictures, over which rates are taken (default 2)' },
  sort: { kind: 'text', short: 's', value: 'ORDER', choices: orders, summary: 'what the largest of comes first (default name)' },
  json: { kind: 'flag', summary: 'print one picture as JSON and end' },
} as const;

export const command = defineCommand({
  name: 'xtfstop',
  summary: 'watch the servers, clients and volumes of XtreemFS',
  description: [
    'A live picture of the whole VO: the directory (dir), the metadata server (mrc), the object servers (osd), the mount of each node, and what is used of each volume. Rates are those of the time since the picture before.',
    'P95 is the time in which 95 of 100 requests were answered, rounded up to a power of two. HITS are the look-ups of names, attributes and small contents that needed no server. Reads and writes that the kernel does by itself (its page cache, and local objects that were handed to it) are in no figure.',
    'Keys: `s` the next order, `r` or blank a new picture now, `q` the end. When stdout is no terminal it prints once.',
    'The same counters are at http://127.0.0.1:7005/metrics of each node for Prometheus (`metrics` in node.json sets another port, 0 none).',
  ],
  options,
  examples: [
    { text: 'who works most, every second', line: 'xtfstop --sort requests --delay 1' },
    { text: 'servers that are down', line: `xtfstop --json | python3 -c 'import json,sys; print(*[s["node"] + " " + s["server"] for s in json.load(sys.stdin)["figures"] if not s["up"]])'` },
  ],
  exitStatus: commonExitStatus,
  seeAlso: [['xtfsutil', 1], ['xnode', 1], ['xos-mrc', 8], ['xos-osd', 8], ['xos-mount', 8], ['xosd', 8]],
  run: async (call) => {
    const top = new Top(call as Call, call.options.sort as Order | undefined ?? 'name');
    const delay_ms = (call.options.delay ?? 2) * 1000;
    await top.look();
    if (!call.options.once && !call.options.json && call.out.isTTY === true) return await live(top, call as Call, delay_ms);
    const { setTimeout: sleep } = await import('node:timers/promises');
    await sleep(delay_ms, undefined, { signal: call.signal });
    await top.look();
    if (call.options.json) call.json(top.view());
    else call.out.write(`${render(top.view(), tableWidth(call.out), undefined).join('\n')}\n`);
  },
});

/** What was seen last, and how it is shown. */
class Top {
  order: Order;
  readonly #call: Call;
  #before: Sample | null = null;
  #now: Sample | null = null;
  #vo = '';
  #volumes: View['volumes'] = [];
  #volumesSeen_ms = -Infinity;
  #message = '';

  constructor(call: Call, order: Order) {
    this.#call = call;
    this.order = order;
  }

  /** Takes the counters; the answer of before stays the base of the rates. */
  async look(): Promise<void> {
    const sample = sampleOf(await ask(this.#call, 'volume-metrics', {}, { timeout_ms: 15_000 }), performance.now());
    [this.#before, this.#now] = [this.#now ?? sample, sample];
    this.#message = '';
    if (this.#vo === '') this.#vo = (await ask(this.#call, 'status', {}).catch(() => null))?.vo ?? '';
    if (performance.now() - this.#volumesSeen_ms < usage_ms) return;
    try {
      const { volumes } = await ask(this.#call, 'volume-list', {});
      this.#volumes = await Promise.all(volumes.map(async ({ volume, owner }) => ({ volume, owner, ...(await ask(this.#call, 'volume-usage', { volume }, { timeout_ms: 60_000 })).all })));
      this.#volumesSeen_ms = performance.now();
    } catch (thrown) {
      this.#call.signal.throwIfAborted();
      this.failed(thrown);
    }
  }

  /** The picture stays, with the reason why it is old. */
  failed(thrown: unknown): void {
    this.#message = thrown instanceof Error ? thrown.message : String(thrown);
  }

  view(): View {
    const now = this.#now ?? { at_ms: 0, nodes: [] };
    const before = this.#before ?? now;
    return {
      vo: this.#vo, time: formatTime(Date.now(), Date.now()), interval_s: (now.at_ms - before.at_ms) / 1000, figures: figuresOf(before, now),
      volumes: this.#volumes, order: this.order, message: this.#message,
    };
  }
}

async function live(top: Top, call: Call, delay_ms: number): Promise<void> {
  const { openScreen } = await import('./top/screen.ts');
  const screen = openScreen(process.stdout, process.stdin);
  try {
    // The first picture has no rates yet: the second one comes soon.
    let due_ms = performance.now() + Math.min(500, delay_ms);
    while (!call.signal.aborted) {
      screen.draw([...render(top.view(), screen.columns, screen.rows - 2, true), '', '\x1b[7m s \x1b[m order  \x1b[7m r \x1b[m look now  \x1b[7m q \x1b[m end']);
      const key = await screen.wait(Math.max(0, due_ms - performance.now()), call.signal);
      if (key === 'q' || key === 'Q' || key === '\x03') return;
      if (key === 's') top.order = orders[(orders.indexOf(top.order) + 1) % orders.length] ?? 'name';
      if (key !== null && !['r', ' '].includes(key)) continue;
      await top.look().catch((thrown: unknown) => top.failed(thrown));
      due_ms = performance.now() + delay_ms;
    }
  } finally {
    screen.close();
  }
}

await runIfMain(import.meta, command);

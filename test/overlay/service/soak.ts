// An hour in a minute: real overlays on loopback (sockets, keys, descriptors), under a clock that runs sixty times as fast. All waits, lives,
// expiries and rates of the overlay go by that clock, so as many cycles, keep-alives, descriptors, histories and sweeps come and go as in an hour;
// what an hour has more of is only idle time between them. Messages, queries, directories, shapes, changed attributes and restarts go on all the
// while, more of them than an hour of a real grid has, so that what one of them leaves behind adds up.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Clock } from '../../../src/core/ports.ts';
import { minute_ms } from '../../../src/core/units.ts';
import { testVo } from '../../vo/authority.ts';
import { fastClock } from './instance.ts';
import { instances, until, type Instances } from './instances.ts';

export interface Soaked {
  /** Of the process, collected, buffers outside of the heap included, at even times: after a quarter of an hour, when ten minutes of history are full, to the end. */
  readonly heap_bytes: readonly number[];
  /** The mean of the last third of them against that of the first third: one sample is a matter of chance. */
  readonly growth: number;
  readonly published: number;
  readonly delivered: number;
  readonly queries: number;
  readonly directories: number;
  readonly shapes: number;
  readonly changes: number;
  readonly restarts: number;
  readonly failed: number;
}

const speed = 60;
const nodes = 6;
const publish_ms = 20;
const full_s = 15;
const heap_samples = 24;
/** How often each of the others is done. */
const every_ms = { queries: 500, directories: 1_500, shapes: 4_000, changes: 1_000, restarts: 7_000 } as const;
type Deed = keyof typeof every_ms;

/** How long the deeds may take, by the fast clock: what is not done by then fails. */
const deed_ms = 20 * minute_ms;

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const root = { uid: 0, gid: 0, pid: 1, user: null, vo: null };

/** What goes on beside the messages. The last node is the one that is restarted; it takes no other part. */
function deeds ({ services, contexts }: Instances, clock: Clock, done: Readonly<Record<Deed, number>>): Readonly<Record<Deed, () => Promise<void>>> {
  const others = services.slice(0, -1);
  const late = (): AbortSignal => clock.deadline(deed_ms);
  const shape = async (): Promise<void> => {
    const controller = new AbortController();
    const signal = clock.deadline(deed_ms, controller.signal);
    const complete = new Set<number>();
    const members = contexts.slice(0, 3).map(async ({ api }, position) => {
      const joined = api.get('shape-join')!(root, { name: `soak-${done.shapes}`, shape: 'ring', position, size: 3 }, signal) as AsyncGenerator<{ readonly neighbours: readonly object[] }>;
      for await (const { neighbours } of joined) if (neighbours.length === 2 && complete.add(position).size === 3) controller.abort();
    });
    await Promise.all(members);
    if (complete.size < 3) throw new Error(`of a ring of three only ${complete.size} have found each other`);
  };
  const some = async (found: Promise<readonly string[]>): Promise<void> => { if ((await found).length === 0) throw new Error('a query that all match found nobody'); };
  return {
    queries: async () => await some(others[done.queries % others.length]!.find('cores >= 1', 0, late())),
    directories: async () => await some(others[done.directories % others.length]!.query('disk_free > 0, cores >= 1', 0, late())),
    shapes: shape,
    changes: async () => void await contexts[done.changes % others.length]!.api.get('node-describe')!(root, { set: { rack: done.changes } }, late()),
    restarts: async () => {
      await services.at(-1)!.stop();
      await services.at(-1)!.start(new AbortController().signal);
    },
  };
}

/** `seconds` of real time, thirty at least (more where the machine is busy), sixty times as many for the overlays. */
export async function soak (port: number, seconds: number): Promise<Soaked> {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const clock = fastClock(speed);
  const now_ms = (): number => clock.monotonic_ms() / speed;
  const undo: (() => Promise<void>)[] = [];
  try {
    const grid = await instances({ teardown: (each: () => unknown) => void undo.push(async () => { await each(); }) } as never, await testVo(), nodes, port, () => ({}), clock);
    const { services } = grid;
    await until(() => services.every((service) => service.show().links.length === nodes - 1));
    let [published, delivered] = [0, 0];
    for (const service of services.slice(0, -1)) service.topics.listen('demo/app/soak', () => { delivered++; });
    const done: Record<Deed, number> = { queries: 0, directories: 0, shapes: 0, changes: 0, restarts: 0 };
    const todo = deeds(grid, clock, done);
    const began_ms = now_ms();
    const next = Object.fromEntries(Object.entries(every_ms).map(([name, ms]) => [name, began_ms + ms])) as Record<Deed, number>;
    const heaps: number[] = [];
    const heapAt = (sample: number): number => began_ms + 1_000 * (full_s + (Math.max(full_s, seconds - full_s) * sample) / (heap_samples - 1));
    while (heaps.length < heap_samples) {
      services[published % (nodes - 1)]!.tell('demo/app/soak', Buffer.from(`message ${published}`));
      published++;
      for (const name of Object.keys(every_ms) as Deed[]) {
        if (now_ms() < next[name]) continue;
        await todo[name]();
        done[name]++;
        next[name] = now_ms() + every_ms[name];
      }
      if (now_ms() >= heapAt(heaps.length)) {
        // Buffers that a first collection finds dead are given back after it.
        collect();
        await pause(10);
        collect();
        const { heapUsed, external } = process.memoryUsage();
        heaps.push(heapUsed + external);
      }
      await pause(publish_ms);
    }
    await pause(500);
    const third = (from: number): number => heaps.slice(from, from + heap_samples / 3).reduce((sum, each) => sum + each, 0);
    return {
      heap_bytes: heaps, growth: third((2 * heap_samples) / 3) / third(0) - 1, published, delivered: delivered / (published * (nodes - 1)), ...done,
      failed: services.reduce((sum, service) => sum + service.metrics.get('host.failed'), 0),
    };
  } finally {
    for (const each of undo) await each();
  }
}

if (import.meta.main) {
  console.log(JSON.stringify(await soak(22_500, Number(process.argv[2] ?? 60))));
}

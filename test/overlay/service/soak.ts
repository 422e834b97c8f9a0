// An hour in a minute: real overlays on loopback (sockets, keys, descriptors), under a clock that runs sixty times as fast. All waits, lives,
// expiries and rates of the overlay go by that clock, so as many cycles, keep-alives, descriptors, histories and sweeps come and go as in an hour;
// what an hour has more of is only idle time between them.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { testVo } from '../../vo/authority.ts';
import { fastClock } from './instance.ts';
import { instances, until } from './instances.ts';

export interface Soaked {
  /** Of the process, collected, in even parts of the hour after the first quarter. */
  readonly heap_bytes: readonly number[];
  /** The heap at the end against that after a quarter, when ten minutes of history are full. */
  readonly growth: number;
  readonly published: number;
  readonly delivered: number;
  readonly queries: number;
  readonly restarts: number;
  readonly failed: number;
}

const speed = 60;
const nodes = 6;
const publish_ms = 20;
const query_ms = 500;
const restart_ms = 7_000;

/** `seconds` of real time, sixty times as many for the overlays. */
export async function soak (port: number, seconds: number): Promise<Soaked> {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const undo: (() => Promise<void>)[] = [];
  try {
    const clock = fastClock(speed);
    const { services } = await instances({ teardown: (each: () => unknown) => void undo.push(async () => { await each(); }) } as never, await testVo(), nodes, port, () => ({}), clock);
    await until(() => services.every((service) => service.show().links.length === nodes - 1));
    let [published, delivered, queries, restarts] = [0, 0, 0, 0];
    const listening = (): void => { for (const service of services.slice(0, -1)) service.topics.listen('demo/app/soak', () => { delivered++; }); };
    listening();
    const end_ms = performance.now() + seconds * 1_000;
    const heaps: number[] = [];
    const heapAt = Array.from({ length: 4 }, (_, i) => end_ms - seconds * 1_000 * 0.25 * (3 - i));
    let [next_query, next_restart] = [0, performance.now() + restart_ms];
    while (performance.now() < end_ms || heaps.length < heapAt.length) {
      services[published % (nodes - 1)]!.tell('demo/app/soak', Buffer.from(`message ${published}`));
      published++;
      if (performance.now() >= next_query) {
        next_query = performance.now() + query_ms;
        queries += (await services[queries % (nodes - 1)]!.find('cores >= 1', 0, AbortSignal.timeout(30_000))).length > 0 ? 1 : 0;
      }
      if (performance.now() >= next_restart) {
        next_restart = performance.now() + restart_ms;
        await services.at(-1)!.stop();
        await services.at(-1)!.start(new AbortController().signal);
        restarts++;
      }
      if (performance.now() >= heapAt[heaps.length]!) {
        collect();
        heaps.push(process.memoryUsage().heapUsed);
      }
      await new Promise((resolve) => setTimeout(resolve, publish_ms));
    }
    await new Promise((resolve) => setTimeout(resolve, 500));
    return {
      heap_bytes: heaps, growth: heaps.at(-1)! / heaps[0]! - 1, published, delivered: delivered / (published * (nodes - 1)), queries, restarts,
      failed: services.reduce((sum, service) => sum + service.metrics.get('host.failed'), 0),
    };
  } finally {
    for (const each of undo) await each();
  }
}

if (import.meta.main) {
  console.log(JSON.stringify(await soak(22_500, Number(process.argv[2] ?? 60))));
}

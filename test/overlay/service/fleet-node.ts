// One node of a fleet (fleet.ts): takes orders from its parent, and ends with it.
import type { NodeRecord } from '../../../src/core/model.ts';
import type { OverlayService } from '../../../src/overlay/service/index.ts';
import { makeInstance } from './instance.ts';

export interface Config {
  readonly vo: string;
  readonly node: string;
  readonly node_ca: string;
  readonly certificate: string;
  readonly key: string;
  readonly records: readonly NodeRecord[];
  readonly directory: string;
}

export type Order =
  | { readonly op: 'ready' | 'show' | 'stop' }
  | { readonly op: 'start'; readonly config: Config }
  /** `listen`: what comes on the topic is timed from now on. */
  | { readonly op: 'listen'; readonly topic: string }
  | { readonly op: 'publish'; readonly topic: string };

export interface Shown {
  readonly links: readonly string[];
  /** The nodes of the membership's view. */
  readonly view: readonly string[];
  readonly known: number;
  /** CPU seconds of this process so far, and its memory. */
  readonly cpu_seconds: number;
  readonly memory_bytes: number;
  readonly heap_bytes: number;
  readonly counters: Readonly<Record<string, number>>;
  /** Of each message that came on the topic: over how many links, and how long after it was published. */
  readonly heard: readonly { readonly hops: number; readonly ms: number }[];
}

export interface Answer {
  readonly id: number;
  readonly error?: string;
  readonly shown?: Shown;
}

let service: OverlayService | null = null;
let heard: { hops: number; ms: number }[] = [];
/** One clock for all processes of the machine. */
const now_ms = (): number => Number(process.hrtime.bigint()) / 1e6;

/** The hops are the broadcast's; those who subscribe are not told, so they are noted on the way. */
function listen (running: OverlayService, topic: string): void {
  heard = [];
  let hops = 0;
  const { topics } = running.parts;
  const deliver = topics.deliver.bind(topics);
  topics.deliver = (self, kept) => { hops = kept.hops; deliver(self, kept); };
  topics.listen(topic, ({ payload }) => void heard.push({ hops, ms: now_ms() - Number(payload.toString()) }));
}

function show (): Shown {
  const { user, system } = process.cpuUsage();
  const { rss, heapUsed } = process.memoryUsage();
  const status = service?.show();
  const parts = status?.running === true ? service!.parts : null;
  const view = [...(parts?.membership.view(0) ?? [])].flatMap(({ peer }) => parts!.known.descriptor(peer)?.node ?? []);
  return { links: status?.links ?? [], view, known: status?.known ?? 0, counters: status?.counters ?? {}, cpu_seconds: (user + system) / 1e6, memory_bytes: rss, heap_bytes: heapUsed, heard };
}

async function obey (order: Order): Promise<Omit<Answer, 'id'>> {
  switch (order.op) {
    case 'ready': return {};
    case 'start': {
      const { records, ...config } = order.config;
      service = makeInstance({ ...config, nodes: () => records }).service;
      await service.start(new AbortController().signal);
      return {};
    }
    case 'listen': listen(service!, order.topic); return {};
    case 'publish': service!.tell(order.topic, Buffer.from(String(now_ms()))); return {};
    case 'show': return { shown: show() };
    case 'stop': await service?.stop(); return {};
  }
}

process.on('message', (order: Order & { readonly id: number }) => {
  obey(order).catch((thrown: unknown) => ({ error: thrown instanceof Error ? thrown.stack ?? thrown.message : String(thrown) }))
    .then((answer) => process.send!({ id: order.id, ...answer } satisfies Answer), () => process.exit(1));
});
process.on('disconnect', () => process.exit(0));

// The same figures of real nodes (fleet.ts) and of as many simulated ones.
import { limits as core } from '../../../src/overlay/core/index.ts';
import { TopicWorld } from '../../../src/sim/topic-world.ts';
import type { LinksOptions } from '../../../src/sim/links.ts';
import type { Fleet } from './fleet.ts';
import type { Shown } from './fleet-node.ts';

export interface Figures {
  /** Links of the mesh; peers in a view; in how many views a node is: their deviation. */
  readonly links: number;
  readonly view: number;
  readonly deviation: number;
  readonly hops: number;
  /** Share of what should have come. */
  readonly delivered: number;
}

export interface Comparison {
  readonly real: Figures;
  readonly simulated: Figures;
  /** Share of a core that one real node takes while nothing is published, and its memory. */
  readonly idle_share: number;
  readonly memory_bytes: number;
  /** From publish to the subscriber at the other end of one link, and anywhere. */
  readonly link_ms: number;
  /** How uneven that is: what the slowest tenth takes, over the fastest tenth, less one. */
  readonly spread: number;
  readonly anywhere_ms: number;
}

const topic = 'demo/app/figures';
const view_samples = 4;
const simulations = 5;
/** As long as a fleet is left alone before it is looked at. */
const settled_cycles = 9;
const linked_ms = 300_000;

export const mean = (numbers: readonly number[]): number => numbers.reduce((sum, each) => sum + each, 0) / Math.max(1, numbers.length);
export const median = (numbers: readonly number[]): number => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN;
const deviation = (numbers: readonly number[]): number => Math.sqrt(mean(numbers.map((each) => (each - mean(numbers)) ** 2)));
const pause = (ms: number, signal: AbortSignal): Promise<void> => new Promise((resolve, reject) => {
  const timer = setTimeout(resolve, ms);
  signal.addEventListener('abort', () => { clearTimeout(timer); reject(signal.reason as Error); }, { once: true });
});

/** In how many views each node is. */
function inDegrees (names: readonly string[], views: readonly (readonly string[])[]): number[] {
  const counts = new Map(names.map((name) => [name, 0]));
  for (const view of views) for (const name of view) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts.values()];
}

/** Until everybody has links, and then so many cycles more; an error names who has none after five minutes. */
export async function settle (fleet: Fleet, cycles: number, signal: AbortSignal): Promise<void> {
  const wanted = Math.min(4, fleet.nodes.length - 1);
  const end = performance.now() + linked_ms;
  for (;;) {
    const lonely = (await fleet.shown()).flatMap(({ links }, i) => (links.length < wanted ? [`${fleet.nodes[i]!.name} (${links.length})`] : []));
    if (lonely.length === 0) break;
    if (performance.now() > end) throw new Error(`fewer than ${wanted} links after ${linked_ms / 1_000} s: ${lonely.join(', ')}`);
    await pause(1_000, signal);
  }
  await pause(cycles * core.cycle_ms, signal);
}

/** Messages before anything is measured: a process that has just begun runs code that was not compiled yet, which takes three times as long. */
export async function warm (fleet: Fleet, messages: number, pause_ms: number, signal: AbortSignal): Promise<void> {
  for (let i = 0; i < messages; i++) {
    await fleet.nodes[i % fleet.nodes.length]!.ask({ op: 'publish', topic });
    await pause(pause_ms, signal);
  }
}

export interface CompareOptions {
  /** Published before the figures are taken, here and there: a tree is as short as it gets after some of them. */
  readonly warm: number;
  readonly messages: number;
  /** Between two messages: with hundreds of processes on two processors one message keeps them busy for a while. */
  readonly pause_ms: number;
  readonly idle_ms: number;
  readonly seed: number;
  readonly signal: AbortSignal;
}

/** Measures a fleet that has settled, and simulates as many. */
export async function compare (fleet: Fleet, { warm: before_them, messages, pause_ms, idle_ms, seed, signal }: CompareOptions): Promise<Comparison> {
  const { nodes } = fleet;
  const names = nodes.map(({ name }) => name);
  const before = await fleet.shown();
  const snapshots: (readonly Shown[])[] = [];
  for (let i = 0; i < view_samples; i++) {
    await pause(idle_ms / view_samples, signal);
    snapshots.push(await fleet.shown());
  }
  const after = snapshots.at(-1)!;
  const spent = after.map((shown, i) => shown.cpu_seconds - before[i]!.cpu_seconds);
  await warm(fleet, before_them, pause_ms, signal);
  // Where processes wait for each other the last ones take a while, and would be counted.
  if (before_them > 0) await pause(5_000, signal);
  await Promise.all(nodes.map((node) => node.ask({ op: 'listen', topic })));
  for (let i = 0; i < messages; i++) {
    await nodes[(i * 7) % nodes.length]!.ask({ op: 'publish', topic });
    await pause(pause_ms, signal);
  }
  await pause(5_000, signal);
  const heard = (await fleet.shown()).flatMap((shown) => shown.heard);
  const far = heard.filter(({ hops }) => hops > 0);
  const near = far.filter(({ hops }) => hops === 1).map(({ ms }) => ms);
  const links = delays(near);
  const views = snapshots.flatMap((shown) => shown.map(({ view }) => view.length));
  return {
    real: {
      links: mean(after.map(({ links }) => links.length)), view: mean(views), deviation: mean(snapshots.map((shown) => deviation(inDegrees(names, shown.map(({ view }) => view))))),
      hops: mean(far.map(({ hops }) => hops)), delivered: heard.length / (messages * nodes.length),
    },
    simulated: averages(Array.from({ length: simulations }, (_, i) => simulate(nodes.length, before_them, messages, pause_ms, seed + i, links))),
    idle_share: mean(spent) / (idle_ms / 1_000), memory_bytes: mean(after.map((shown) => shown.memory_bytes)),
    link_ms: median(near), spread: links.jitter ?? 0, anywhere_ms: median(far.map(({ ms }) => ms)),
  };
}

/** One run of a few hundred differs from the next by some per cent. */
const averages = (all: readonly Figures[]): Figures => ({
  links: mean(all.map((each) => each.links)), view: mean(all.map((each) => each.view)), deviation: mean(all.map((each) => each.deviation)), hops: mean(all.map((each) => each.hops)), delivered: mean(all.map((each) => each.delivered)),
});

/**
 * What a link takes here, for the simulator. A tree is made of whatever way came first: where hundreds of processes wait for two processors one link
 * takes ten times as long as another, and such a tree begins deeper by a fifth than one over even links (simulated: 5.7 hops of 200 nodes, 6.9; 6.0 when it has settled).
 */
function delays (ms: readonly number[]): LinksOptions {
  const sorted = [...ms].sort((a, b) => a - b);
  const [fast, slow] = [sorted[Math.floor(sorted.length * 0.1)] ?? 1, sorted[Math.floor(sorted.length * 0.9)] ?? 1];
  return { sites: 1, latency_ms: [[fast]], jitter: slow / fast - 1 };
}

function simulate (count: number, before_them: number, messages: number, pause_ms: number, seed: number, links: LinksOptions): Figures {
  const world = new TopicWorld(count, seed, links);
  world.engine.run(settled_cycles * core.cycle_ms);
  const deviations: number[] = [];
  for (let i = 0; i < view_samples; i++) {
    world.engine.run(core.cycle_ms);
    deviations.push(deviation(inDegrees(world.living().map(String), world.living().map((node) => [...world.membership.view(node)].map(({ peer }) => String(peer))))));
  }
  for (let i = 0; i < before_them; i++) {
    world.publish(i % count);
    world.engine.run(pause_ms);
  }
  world.engine.run(5_000);
  const from = world.heard.map((told) => told.length);
  for (let i = 0; i < messages; i++) {
    world.publish((i * 7) % count);
    world.engine.run(pause_ms);
  }
  world.engine.run(5_000);
  const told = world.heard.flatMap((all, node) => all.slice(from[node]));
  return {
    links: mean(world.living().map((node) => world.mesh.links(node).length)), view: mean(world.living().map((node) => [...world.membership.view(node)].length)), deviation: mean(deviations),
    hops: mean(told.map(({ hops }) => hops).filter((hops) => hops > 0)), delivered: told.length / (messages * count),
  };
}

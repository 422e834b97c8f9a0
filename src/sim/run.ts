import { coordinateError } from './measures/coordinates.ts';
import { connected, inDegrees } from './measures/graph.ts';
import { Queries } from './measures/queries.ts';
import { measureSlots } from './measures/slots.ts';
import type { Scenario } from './scenario.ts';
import { World } from './world.ts';

/** What one cycle was like; equal for equal seeds. null: not looked at. */
export interface CycleRow {
  readonly cycle: number;
  readonly nodes: number;
  /** Sent in this cycle, a living node. */
  readonly bytes: number;
  readonly messages: number;
  /** Links to living nodes as a share of those that full knowledge would have, and dead ones as a share of all. */
  readonly live: number | null;
  readonly dead: number | null;
  readonly connected: number | null;
  readonly coordinate_error: number | null;
  /** Of the queries for some that began in this cycle: their number, how many got all they wanted, averages of a query. */
  readonly some: { readonly begun: number; readonly full: number; readonly found: number; readonly dead: number; readonly strangers: number; readonly messages: number } | null;
  readonly all: { readonly begun: number; readonly ended: number; readonly share: number; readonly messages: number } | null;
}

export interface RunResult {
  readonly scenario: string;
  readonly nodes: number;
  readonly seed: number;
  readonly cycles: readonly CycleRow[];
  /** Mean and deviation of the in-degree of the views at the end. */
  readonly in_degree: { readonly mean: number; readonly deviation: number };
  readonly counters: Readonly<Record<string, number>>;
  readonly digest: number;
}

/** What this machine spent on it; different each time. */
export interface Spent {
  readonly cpu_seconds: number;
  readonly memory_bytes: number;
}

export interface RunOptions {
  readonly scenario: Scenario;
  readonly nodes: number;
  readonly cycles: number;
  readonly seed: number;
  readonly signal?: AbortSignal;
  /** After each cycle. */
  readonly each?: (row: CycleRow, spent: Spent) => void;
  /** CPU seconds that this process has used. */
  readonly cpu?: () => number;
}

const slots_sample = 500;
/** Nodes join over so many cycles: at once would be a storm of its own. */
const joining_cycles = (nodes: number): number => (nodes > 200_000 ? 5 : 1);

/** Runs a scenario. The same options give the same result, bit by bit. */
export function run(options: RunOptions): RunResult {
  const { scenario, nodes } = options;
  const joins = Array.from({ length: options.cycles }, (_, i) => Math.ceil((scenario.churn?.(i + 1).joins ?? 0) * nodes)).reduce((sum, each) => sum + each, 0);
  const world = new World({ nodes, more: joins, seed: options.seed, ...scenario.world });
  const cycles: Draft[] = [];
  for (let cycle = 1; cycle <= options.cycles; cycle++) {
    options.signal?.throwIfAborted();
    const cpu = options.cpu?.() ?? 0;
    const row = runCycle(world, options, cycle);
    cycles.push(row);
    // An exhaustive query may end in a later cycle than it began in.
    for (const draft of cycles.slice(-3)) draft.settle();
    options.each?.(row, { cpu_seconds: (options.cpu?.() ?? 0) - cpu, memory_bytes: process.memoryUsage.rss() });
  }
  const rows = cycles.map(({ settle: _, ...rest }): CycleRow => rest);
  return { scenario: scenario.name, nodes, seed: options.seed, cycles: rows, in_degree: inDegrees(world), counters: world.engine.metrics.all(), digest: world.digest() };
}

/** A row whose queries for all may not have ended: `settle` looks again. */
interface Draft extends CycleRow {
  all: CycleRow['all'];
  readonly settle: () => void;
}

function runCycle(world: World, { scenario, nodes, cycles }: RunOptions, cycle: number): Draft {
  const { engine } = world;
  const before = { bytes: total(engine.bytes), messages: total(engine.messages) };
  scenario.before?.(world, cycle);
  const joining = joining_cycles(nodes);
  const first = cycle <= joining ? Math.floor((nodes * cycle) / joining) - Math.floor((nodes * (cycle - 1)) / joining) : 0;
  const churn = scenario.churn?.(cycle) ?? {};
  const asked = scenario.queries?.(cycle) ?? {};
  const selectivity = scenario.selectivity ?? 0.125;
  const some = asked.some === undefined ? null : new Queries(world, selectivity);
  for (let i = 0; i < (asked.some ?? 0); i++) some?.some(scenario.wanted ?? 50);
  const half = { messages: 0 };
  const exhaustive: Queries[] = [];
  world.cycle({
    joins: first + Math.floor((churn.joins ?? 0) * nodes), deaths: Math.floor((churn.deaths ?? 0) * nodes), leaves: churn.leaves,
    each: (part) => {
      // One after the other, so that each one's messages are its own.
      if (part !== 40) return;
      half.messages = some?.messages ?? 0;
      if (asked.all === undefined) return;
      const all = new Queries(world, selectivity);
      exhaustive.push(all);
      for (let i = 0; i < asked.all; i++) all.all();
    },
  });
  const every = scenario.slots_every ?? 2;
  const slots = every > 0 && (cycle % every === 0 || cycle === cycles) ? measureSlots(engine, world.overlay.tables[0]!, slots_sample) : null;
  const messages = { all: exhaustive[0]?.messages ?? 0 };
  const draft: Draft = {
    cycle, nodes: engine.count, bytes: (total(engine.bytes) - before.bytes) / Math.max(1, engine.count), messages: (total(engine.messages) - before.messages) / Math.max(1, engine.count),
    live: slots === null ? null : slots.live / Math.max(1, slots.possible), dead: slots === null ? null : slots.dead / Math.max(1, slots.live + slots.dead),
    connected: scenario.connected === true ? connected(world) : null,
    coordinate_error: scenario.coordinates === true ? coordinateError(world, 2_000) : null,
    some: some === null ? null : someOf(some, half.messages), all: null,
    settle: () => {
      if (exhaustive[0] !== undefined) draft.all = allOf(exhaustive[0], messages.all);
    },
  };
  return draft;
}

const total = (values: Float64Array): number => values.reduce((sum, value) => sum + value, 0);

function someOf(queries: Queries, messages: number): CycleRow['some'] {
  const { begun, ended, full, found, dead, strangers } = queries;
  const mean = (value: number): number => value / Math.max(1, ended);
  return { begun, full, found: mean(found), dead: mean(dead), strangers: mean(strangers), messages };
}

function allOf(queries: Queries, messages: number): CycleRow['all'] {
  return { begun: queries.begun, ended: queries.ended, share: queries.share / Math.max(1, queries.ended), messages };
}

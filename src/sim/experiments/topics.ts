import { digestOf, percentOf, type Experiment, type ExperimentOptions, type Figures } from '../experiment.ts';
import { TopicWorld } from '../topic-world.ts';

const settle_ms = 60_000;
const message_ms = 1_000;
const quiet_ms = 30_000;
const dying_share = 0.8;
/** The messages for which the bar after the deaths is set. */
const next_messages = 10;

interface Phase {
  readonly delivered: number;
  readonly redundancy: number;
  readonly hops: number;
}

const mean = (numbers: readonly number[]): number => numbers.reduce((sum, each) => sum + each, 0) / Math.max(1, numbers.length);

/** A publisher sends messages, a second apart; what comes late counts, too. */
function phase(world: TopicWorld, count: number, rows: (number | null)[][]): Phase {
  const publisher = world.anyone();
  const living = world.living();
  const before = world.received();
  const told = world.heard.map((all) => all.length);
  const numbers = Array.from({ length: count }, () => {
    const number = world.publish(publisher);
    world.engine.run(message_ms);
    return number;
  });
  world.engine.run(quiet_ms);
  const shares = numbers.map((number) => world.delivered(publisher, number));
  for (const share of shares) rows.push([living.length, share]);
  const hops = living.flatMap((node) => world.heard[node]!.slice(told[node]).filter((each) => each.hops > 0).map((each) => each.hops));
  return { delivered: mean(shares), redundancy: (world.received() - before) / (count * (living.length - 1)) - 1, hops: mean(hops) };
}

function run({ nodes, cycles, seed }: ExperimentOptions): Figures {
  const world = new TopicWorld(nodes, seed);
  const rows: (number | null)[][] = [];
  world.engine.run(settle_ms);
  const before = phase(world, Math.max(1, cycles - next_messages), rows);
  for (const node of world.living()) if (world.engine.random.chance(dying_share)) world.engine.crash(node);
  const after = phase(world, next_messages, rows);
  return {
    experiment: 'topics', nodes, seed, over: 'message', columns: ['nodes', 'delivered'], plotted: ['delivered'], rows,
    totals: { delivered: before.delivered, redundancy: before.redundancy, hops: before.hops, delivered_after: after.delivered, redundancy_after: after.redundancy },
    facts: [
      `${nodes.toLocaleString('en')} subscribers: ${percentOf(before.delivered)} delivered, redundancy ${before.redundancy.toFixed(2)}, ${before.hops.toFixed(1)} hops`,
      `80 % die at once, the next ${next_messages} messages: ${percentOf(after.delivered)} delivered, redundancy ${after.redundancy.toFixed(2)}`,
    ],
    digest: digestOf(rows, world.engine.random.word()),
  };
}

export const topics: Experiment = { name: 'topics', summary: 'messages on a topic that every node has subscribed to; then 80 % of the nodes die at once', nodes: 3_000, cycles: 30, run };

// Seeds that failed once: each file says what went wrong and what must hold since.
import { readFileSync, readdirSync } from 'node:fs';
import test from 'ava';
import { findExperiment } from '../../src/sim/experiments/index.ts';
import { findScenario } from '../../src/sim/scenario.ts';
import { run } from '../../src/sim/run.ts';

interface Seed {
  readonly what: string;
  readonly scenario: string;
  readonly nodes: number;
  readonly cycles: number;
  readonly seed: number;
  /** What the last cycle must reach at least, or at most. */
  readonly at_least?: Partial<Record<'live' | 'connected', number>>;
  readonly error_max?: number;
  /** What each exhaustive query must find at least. */
  readonly share_min?: number;
  /** Counters, or totals of an experiment, that may be so high at most. */
  readonly at_most?: Readonly<Record<string, number>>;
}

const folder = new URL('./seeds/', import.meta.url);

for (const name of readdirSync(folder).filter((each) => each.endsWith('.json')).sort()) {
  const seed = JSON.parse(readFileSync(new URL(name, folder), 'utf8')) as Seed;
  test.serial(`${name}: ${seed.what}`, async (t) => {
    await new Promise<void>((resolve) => void setImmediate(resolve));
    const experiment = findExperiment(seed.scenario);
    if (experiment !== undefined) {
      const { totals } = experiment.run(seed);
      for (const [total, most] of Object.entries(seed.at_most ?? {})) t.true(totals[total] != null && totals[total] <= most, `${total} is ${totals[total]}`);
      return;
    }
    const { cycles, counters } = run({ scenario: findScenario(seed.scenario)!, nodes: seed.nodes, cycles: seed.cycles, seed: seed.seed });
    const last = cycles.at(-1)!;
    for (const [measure, least] of Object.entries(seed.at_least ?? {})) t.true(last[measure as 'live'] !== null && last[measure as 'live']! >= least, `${measure} is ${last[measure as 'live']}`);
    if (seed.error_max !== undefined) t.true(last.coordinate_error !== null && last.coordinate_error <= seed.error_max, `${last.coordinate_error}`);
    for (const { cycle, all } of cycles) if (all !== null && all.ended > 0) t.true(all.share >= (seed.share_min ?? 0), `${all.share} found in cycle ${cycle}`);
    for (const [counter, most] of Object.entries(seed.at_most ?? {})) t.true((counters[counter] ?? 0) <= most, `${counter} is ${counters[counter]}`);
  });
}

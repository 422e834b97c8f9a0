// Topics, shapes and the DHT in the simulator, with few nodes; `npm run bench -- overlay` has the full sizes.
import test from 'ava';
import { experiments, findExperiment } from '../../src/sim/experiments/index.ts';
import { figuresCsv, figuresSvg } from '../../src/sim/output.ts';

const few: Readonly<Record<string, { readonly nodes: number; readonly cycles: number }>> = { topics: { nodes: 200, cycles: 14 }, shapes: { nodes: 64, cycles: 40 }, dht: { nodes: 200, cycles: 3 } };

for (const { name, run } of experiments) {
  test(`${name}: equal seeds give equal figures, other seeds others; table and plot hold all rows`, (t) => {
    const figures = run({ ...few[name]!, seed: 3 });
    t.deepEqual(run({ ...few[name]!, seed: 3 }), figures);
    t.not(run({ ...few[name]!, seed: 4 }).digest, figures.digest);
    const lines = figuresCsv(figures).trim().split('\n');
    t.is(lines.length, figures.rows.length + 1);
    t.is(lines[0], [figures.over, ...figures.columns].join());
    t.true(lines.every((line) => line.split(',').length === figures.columns.length + 1));
    const plot = figuresSvg(figures);
    for (const column of figures.plotted) t.true(plot.includes(`>${column}</text>`));
  });
}

test('topics: all is delivered, before and after four of five died', (t) => {
  const { totals } = findExperiment('topics')!.run({ nodes: 300, cycles: 20, seed: 1 });
  t.is(totals['delivered'], 1);
  t.true(totals['delivered_after']! >= 0.999);
  t.true(totals['redundancy']! <= 0.4 && totals['redundancy_after']! <= 0.4);
});

test('shapes: every one stands within the rounds of the bar, and a hypercube is left out where there can be none', (t) => {
  const { totals, columns } = findExperiment('shapes')!.run({ nodes: 100, cycles: 60, seed: 1 });
  t.true(totals['ring']! <= 20 && totals['torus']! <= 20 && totals['tree']! <= 25);
  t.false(columns.includes('hypercube'));
});

test('dht: look-ups end at the right node', (t) => {
  const { totals } = findExperiment('dht')!.run({ nodes: 300, cycles: 5, seed: 1 });
  t.is(totals['look_ups']! > 400, true);
  t.true(totals['right']! >= 0.995);
});

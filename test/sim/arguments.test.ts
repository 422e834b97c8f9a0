import test from 'ava';
import { parseArguments, usage } from '../../src/sim/arguments.ts';
import { scenarios } from '../../src/sim/scenario.ts';
import type { XosError } from '../../src/core/errors.ts';

test('what is given is taken, the rest is the scenario’s', (t) => {
  const { scenario, nodes, cycles, seed, json, out } = parseArguments(['--nodes', '1000', '--scenario=churn', '--seed', '7', '--json']);
  t.deepEqual([scenario.name, nodes, cycles, seed, json, out], ['churn', 1_000, scenario.cycles, 7, true, 'build/sim']);
});

for (const [words, what] of [
  [['--scenario', 'weather'], /no scenario 'weather'/], [['--nodes', '-5'], /'--nodes -5' is not an integer from 1 to/], [['--nodes', '0'], /not an integer from 1/],
  [['--nodes', '1e6'], /not an integer/], [['--nodes', '99999999'], /not an integer/], [['--seed', 'x'], /not an integer from 0/], [['--cycles', '1001'], /from 1 to 1000/],
  [['--nodes'], /'--nodes' needs a value/], [['fast'], /unknown word 'fast'/], [['--json=yes'], /unknown word/],
] as const) {
  test(`refused: ${words.join(' ')}`, (t) => {
    const error = t.throws<XosError>(() => parseArguments(words));
    t.is(error!.code, 'XOS_USAGE');
    t.regex(error!.message, what);
  });
}

test('the help names every scenario', (t) => {
  for (const { name } of scenarios) t.true(usage().includes(`\n  ${name} `), name);
  t.is(new Set(scenarios.map(({ name }) => name)).size, scenarios.length);
});

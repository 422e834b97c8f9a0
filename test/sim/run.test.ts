// The protocols in small worlds with fixed seeds: what must hold of them, never how long it takes.
import test from 'ava';
import { findScenario, scenarios } from '../../src/sim/scenario.ts';
import { csv, svg } from '../../src/sim/output.ts';
import { run, type CycleRow, type RunResult } from '../../src/sim/run.ts';

const runs = (name: string, nodes: number, seed = 3, cycles?: number): RunResult => {
  const scenario = findScenario(name)!;
  return run({ scenario, nodes, seed, cycles: cycles ?? scenario.cycles });
};
const mean = (rows: readonly CycleRow[], value: (row: CycleRow) => number): number => rows.reduce((sum, row) => sum + value(row), 0) / rows.length;
const shareOfAll = (result: RunResult): number => mean(result.cycles.filter((row) => row.all !== null && row.all.ended > 0), (row) => row.all!.share);

test('equal seeds give equal runs, bit by bit, and other seeds others', (t) => {
  for (const name of ['storm', 'lossy', 'drift', 'skew']) {
    const first = runs(name, 300, 5, 24);
    t.deepEqual(runs(name, 300, 5, 24), first, name);
    t.not(runs(name, 300, 6, 24).digest, first.digest, name);
  }
});

test('all links are there and live within twelve cycles', (t) => {
  const { cycles } = runs('settle', 1_500, 3, 12);
  t.true(cycles.at(-1)!.live! >= 0.999, String(cycles.at(-1)!.live));
  t.is(cycles.at(-1)!.dead, 0);
});

test('a node sends as much in a large overlay as in a small one', (t) => {
  const bytes = [300, 1_000, 4_000].map((nodes) => runs('settle', nodes, 3, 14).cycles.at(-1)!.bytes);
  t.true(Math.max(...bytes) < 1.1 * Math.min(...bytes), bytes.join(' '));
});

test('views are even: nobody is in very many', (t) => {
  const { in_degree } = runs('settle', 1_500, 3, 20);
  t.true(in_degree.mean > 11 && in_degree.deviation < 6, JSON.stringify(in_degree));
});

test('queries find what there is, and ask few who do not match', (t) => {
  const result = runs('query', 1_500);
  const some = result.cycles.filter((row) => row.some !== null);
  t.true(some.every((row) => row.some!.full === row.some!.begun));
  t.true(mean(some, (row) => row.some!.strangers) <= 5);
  t.true(shareOfAll(result) >= 0.995, String(shareOfAll(result)));
});

test('under churn queries for all find nearly all: 99 % at 0.2 % a cycle, 95 % at 1 %', (t) => {
  t.true(shareOfAll(runs('churn', 1_500)) >= 0.99);
  t.true(shareOfAll(runs('storm', 1_500)) >= 0.95);
});

test('when half of all die at once the rest is connected, and queries end with what they want', (t) => {
  const after = runs('half', 1_500).cycles.slice(17, 23);
  t.true(after.every((row) => row.connected! >= 0.999));
  t.true(after.every((row) => row.some!.full >= 0.95 * row.some!.begun), after.map((row) => row.some!.full).join(' '));
});

test('after a partition the halves find each other again', (t) => {
  const { cycles } = runs('partition', 600);
  t.true(cycles.at(-1)!.live! >= 0.98, String(cycles.at(-1)!.live));
});

test('after an outage of everybody those who come back are connected again, from views that name dead nodes', (t) => {
  const last = runs('outage', 600).cycles.at(-1)!;
  t.is(last.connected, 1);
  t.true(last.live! >= 0.98 && last.dead! < 0.03, JSON.stringify(last));
});

test('who leaves in order is forgotten sooner than who dies', (t) => {
  const scenario = findScenario('leave')!;
  const die = { ...scenario, churn: (cycle: number) => (cycle === 16 ? { deaths: 0.3 } : {}) };
  const at = (result: RunResult): number => result.cycles[17]!.dead!;
  t.true(at(run({ scenario, nodes: 600, seed: 3, cycles: 18 })) < 0.7 * at(run({ scenario: die, nodes: 600, seed: 3, cycles: 18 })));
});

test('lost, doubled and late messages: nobody is lost, nearly every link is there', (t) => {
  const result = runs('lossy', 600);
  t.true(result.cycles.at(-1)!.live! >= 0.995);
  t.true(result.cycles.filter((row) => row.some !== null).every((row) => row.some!.full === row.some!.begun));
});

test('clocks that drift accuse nobody', (t) => {
  const last = runs('drift', 600).cycles.at(-1)!;
  t.is(last.dead, 0);
  t.true(last.live! >= 0.999);
});

test('cells follow skewed attributes: one publishes cuts, and links and queries are as with even ones', (t) => {
  const result = runs('skew', 600);
  t.true(result.counters['rss.cuts_published']! >= 1 && result.counters['rss.cuts_published']! <= 3, JSON.stringify(result.counters));
  t.true(result.cycles.at(-1)!.live! >= 0.98);
  t.true(shareOfAll(result) >= 0.98);
});

test('two keys: links of both, and queries over either', (t) => {
  const result = runs('keys', 600);
  t.true(shareOfAll(result) >= 0.99);
});

test('coordinates foretell round trips better and better', (t) => {
  const { cycles } = runs('near', 400);
  t.true(cycles.at(-1)!.coordinate_error! < 0.35 && cycles.at(-1)!.coordinate_error! < cycles[3]!.coordinate_error!, cycles.map((row) => row.coordinate_error!.toFixed(2)).join(' '));
});

test('one node alone, and two: nothing breaks', (t) => {
  for (const nodes of [1, 2, 3]) {
    for (const { name } of scenarios.filter((each) => each.name !== 'near')) t.is(runs(name, nodes, 1, 20).cycles.length, 20, name);
  }
});

test('figures as CSV and as a plot', (t) => {
  const result = runs('half', 100, 1, 20);
  const lines = csv(result).trim().split('\n');
  t.is(lines.length, 21);
  t.true(lines.every((line) => line.split(',').length === lines[0]!.split(',').length));
  t.regex(svg(result), /^<svg [^]*<polyline [^]*<\/svg>\n$/);
});

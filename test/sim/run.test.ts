// The protocols in small worlds with fixed seeds: what must hold of them, never how long it takes.
import test from 'ava';
import { findScenario, scenarios } from '../../src/sim/scenario.ts';
import { csv, svg } from '../../src/sim/output.ts';
import { run, type CycleRow, type RunOptions, type RunResult } from '../../src/sim/run.ts';

/** Each run in a turn of its own: the runner hears of what is done, however slow the machine. */
const simulate = async (options: RunOptions): Promise<RunResult> => {
  await new Promise<void>((resolve) => void setImmediate(resolve));
  return run(options);
};

const runs = (name: string, nodes: number, seed = 3, cycles?: number): Promise<RunResult> => {
  const scenario = findScenario(name)!;
  return simulate({ scenario, nodes, seed, cycles: cycles ?? scenario.cycles });
};
const mean = (rows: readonly CycleRow[], value: (row: CycleRow) => number): number => rows.reduce((sum, row) => sum + value(row), 0) / rows.length;
const shareOfAll = (result: RunResult): number => mean(result.cycles.filter((row) => row.all !== null && row.all.ended > 0), (row) => row.all!.share);

for (const name of ['storm', 'lossy', 'drift']) {
  test.serial(`equal seeds give equal runs, bit by bit, and other seeds others: ${name}`, async (t) => {
    const first = await runs(name, 150, 5, 23);
    t.deepEqual(await runs(name, 150, 5, 23), first);
    t.not((await runs(name, 150, 6, 23)).digest, first.digest);
  });
}

test.serial('all links are there and live within twelve cycles', async (t) => {
  const { cycles } = await runs('settle', 1_000, 3, 12);
  t.true(cycles.at(-1)!.live! >= 0.999, String(cycles.at(-1)!.live));
  t.is(cycles.at(-1)!.dead, 0);
});

test.serial('a node sends as much in a large overlay as in a small one', async (t) => {
  const bytes: number[] = [];
  for (const nodes of [300, 2_000]) bytes.push((await runs('settle', nodes, 3, 12)).cycles.at(-1)!.bytes);
  t.true(Math.max(...bytes) < 1.1 * Math.min(...bytes), bytes.join(' '));
});

test.serial('views are even: nobody is in very many', async (t) => {
  const { in_degree } = await runs('settle', 600, 3, 20);
  t.true(in_degree.mean > 11 && in_degree.deviation < 6, JSON.stringify(in_degree));
});

test.serial('queries find what there is, and ask few who do not match', async (t) => {
  const result = await runs('query', 800);
  const some = result.cycles.filter((row) => row.some !== null);
  t.true(some.every((row) => row.some!.full === row.some!.begun));
  t.true(mean(some, (row) => row.some!.strangers) <= 5);
  t.true(shareOfAll(result) >= 0.995, String(shareOfAll(result)));
});

for (const [name, what, least] of [['churn', '0.2 %', 0.99], ['storm', '1 %', 0.95]] as const) {
  test.serial(`at a churn of ${what} a cycle queries for all find nearly all`, async (t) => {
    const found = shareOfAll(await runs(name, 1_000));
    t.true(found >= least, String(found));
  });
}

test.serial('when half of all die at once the rest is connected, and queries end with what they want', async (t) => {
  const after = (await runs('half', 1_500, 3, 23)).cycles.slice(17, 23);
  t.true(after.every((row) => row.connected! >= 0.999));
  t.true(after.every((row) => row.some!.full >= 0.95 * row.some!.begun), after.map((row) => row.some!.full).join(' '));
});

test.serial('after a partition the halves find each other again', async (t) => {
  const { cycles } = await runs('partition', 600);
  t.true(cycles.at(-1)!.live! >= 0.98, String(cycles.at(-1)!.live));
});

test.serial('after an outage of everybody those who come back are connected again, from views that name dead nodes', async (t) => {
  const last = (await runs('outage', 600)).cycles.at(-1)!;
  t.is(last.connected, 1);
  t.true(last.live! >= 0.98 && last.dead! < 0.03, JSON.stringify(last));
});

test.serial('who leaves in order is forgotten sooner than who dies', async (t) => {
  const scenario = findScenario('leave')!;
  const die = { ...scenario, churn: (cycle: number) => (cycle === 16 ? { deaths: 0.3 } : {}) };
  const at = (result: RunResult): number => result.cycles[17]!.dead!;
  const [left, died] = [await simulate({ scenario, nodes: 600, seed: 3, cycles: 18 }), await simulate({ scenario: die, nodes: 600, seed: 3, cycles: 18 })];
  t.true(at(left) < 0.7 * at(died), `${at(left)} ${at(died)}`);
});

test.serial('lost, doubled and late messages: nobody is lost, nearly every link is there', async (t) => {
  const result = await runs('lossy', 600);
  t.true(result.cycles.at(-1)!.live! >= 0.995);
  t.true(result.cycles.filter((row) => row.some !== null).every((row) => row.some!.full === row.some!.begun));
});

test.serial('clocks that drift accuse nobody', async (t) => {
  const last = (await runs('drift', 600)).cycles.at(-1)!;
  t.is(last.dead, 0);
  t.true(last.live! >= 0.999);
});

test.serial('cells follow skewed attributes: one publishes cuts, and links and queries are as with even ones', async (t) => {
  const result = await runs('skew', 600);
  t.true(result.counters['rss.cuts_published']! >= 1 && result.counters['rss.cuts_published']! <= 3, JSON.stringify(result.counters));
  t.true(result.cycles.at(-1)!.live! >= 0.98);
  t.true(shareOfAll(result) >= 0.98);
});

test.serial('two keys: links of both, and queries over either', async (t) => {
  const result = await runs('keys', 600);
  t.true(shareOfAll(result) >= 0.99);
});

test.serial('coordinates foretell round trips better and better', async (t) => {
  const { cycles } = await runs('near', 400);
  t.true(cycles.at(-1)!.coordinate_error! < 0.35 && cycles.at(-1)!.coordinate_error! < cycles[3]!.coordinate_error!, cycles.map((row) => row.coordinate_error!.toFixed(2)).join(' '));
});

test.serial('one node alone, and two: nothing breaks', async (t) => {
  for (const nodes of [1, 2]) {
    for (const { name } of scenarios.filter((each) => each.name !== 'near')) t.is((await runs(name, nodes, 1, 20)).cycles.length, 20, name);
  }
});

test.serial('figures as CSV and as a plot', async (t) => {
  const result = await runs('half', 100, 1, 20);
  const lines = csv(result).trim().split('\n');
  t.is(lines.length, 21);
  t.true(lines.every((line) => line.split(',').length === lines[0]!.split(',').length));
  t.regex(svg(result), /^<svg [^]*<polyline [^]*<\/svg>\n$/);
});

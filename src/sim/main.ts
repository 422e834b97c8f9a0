// npm run sim: scenarios of the overlay in simulated time. See docs/overlay.md.

import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { XosError } from '../core/errors.ts';
import { parseArguments, usage, type Arguments } from './arguments.ts';
import type { Experiment } from './experiment.ts';
import { csv, figuresCsv, figuresSvg, header, line, svg } from './output.ts';
import { report } from './report.ts';
import { run, type CycleRow, type Spent } from './run.ts';
import type { Scenario } from './scenario.ts';

const tuned = 'XOS_SIM_TUNED';
/** A million nodes are hundreds of megabytes that are read at random: huge pages make that a third faster (glibc 2.35 and later). */
const tunables = 'glibc.malloc.hugetlb=1';
/** Packets are pooled, so little dies young: a large nursery would only be memory. */
const node_options = ['--max-semi-space-size=2', '--disable-warning=ExperimentalWarning'];

/** Runs this program again with the allocator's setting, which only a new process takes. Returns its exit status. */
function again(words: readonly string[]): number {
  const child = spawnSync(process.execPath, [...node_options, import.meta.filename, ...words], {
    stdio: 'inherit', env: { ...process.env, [tuned]: '1', GLIBC_TUNABLES: [process.env['GLIBC_TUNABLES'], tunables].filter((text) => text).join(':') },
  });
  return child.status ?? 1;
}

function cpu(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

function simulate(scenario: Scenario, options: Arguments): void {
  const { nodes, cycles, seed } = options;
  const began = cpu();
  if (!options.json) process.stdout.write(`${scenario.name}: ${scenario.summary}; ${nodes.toLocaleString('en')} nodes, seed ${seed}\n${header()}\n`);
  const spent: Spent[] = [];
  const each = (row: CycleRow, of: Spent): void => {
    if (options.json) spent.push(of);
    else process.stdout.write(`${line(row, of)}\n`);
  };
  const result = run({ scenario, nodes, cycles, seed, cpu, each });
  if (options.json) {
    process.stdout.write(`${JSON.stringify(result, null, 1)}\n`);
    // What the machine spent is different each time, so it is no part of the figures.
    return void process.stderr.write(`${JSON.stringify({ spent })}\n`);
  }
  process.stdout.write(`in-degree ${result.in_degree.mean.toFixed(2)} ± ${result.in_degree.deviation.toFixed(2)}, digest ${result.digest.toString(16).padStart(8, '0')}, ${(cpu() - began).toFixed(1)} CPU s\n`);
  for (const [name, count] of Object.entries(result.counters)) process.stdout.write(`  ${name} ${count}\n`);
  keep(options, csv(result), svg(result));
}

function experiment({ name, summary, run: perform }: Experiment, options: Arguments): void {
  const { nodes, cycles, seed } = options;
  const began = cpu();
  if (!options.json) process.stdout.write(`${name}: ${summary}; ${nodes.toLocaleString('en')} nodes, seed ${seed}\n`);
  const figures = perform({ nodes, cycles, seed });
  if (options.json) return void process.stdout.write(`${JSON.stringify(figures, null, 1)}\n`);
  for (const fact of figures.facts) process.stdout.write(`  ${fact}\n`);
  process.stdout.write(`digest ${figures.digest.toString(16).padStart(8, '0')}, ${(cpu() - began).toFixed(1)} CPU s\n`);
  keep(options, figuresCsv(figures), figuresSvg(figures));
}

/** Writes the table and the plot. */
function keep({ out, scenario, nodes, seed }: Arguments, table: string, plot: string): void {
  if (out === null) return;
  mkdirSync(out, { recursive: true });
  const path = join(out, `${scenario.name}-${nodes}-${seed}`);
  writeFileSync(`${path}.csv`, table);
  writeFileSync(`${path}.svg`, plot);
  process.stdout.write(`wrote ${path}.csv and ${path}.svg\n`);
}

function main(words: readonly string[]): number {
  const options = parseArguments(words);
  if (options.help) {
    process.stdout.write(`${usage()}\n`);
    return 0;
  }
  if (process.env[tuned] !== '1') return again(words);
  if (options.report) report((text) => void process.stderr.write(`${text}\n`));
  else if ('run' in options.scenario) experiment(options.scenario, options);
  else simulate(options.scenario, options);
  return 0;
}

try {
  process.exitCode = main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`sim: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = error instanceof XosError && error.code === 'XOS_USAGE' ? 2 : 1;
}

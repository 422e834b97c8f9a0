import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { Figures } from './experiment.ts';
import { findExperiment } from './experiments/index.ts';
import { figuresSvg, svg } from './output.ts';
import { run, type CycleRow, type RunResult } from './run.ts';
import { findScenario } from './scenario.ts';

const root = new URL('../../', import.meta.url);
const page = new URL('docs/overlay.md', root);
const pictures = new URL('docs/overlay/', root);
const begin = '<!-- figures: npm run sim -- --report -->';
const end = '<!-- end of figures -->';

/** What the page shows: what a bar is set for at the bar's size (but the million), the rest smaller. */
const shown: readonly { readonly scenario: string; readonly nodes?: number; readonly cycles?: number; readonly picture?: boolean }[] = [
  { scenario: 'settle', nodes: 1_000, picture: false }, { scenario: 'settle', nodes: 10_000, picture: false }, { scenario: 'settle', nodes: 100_000 }, { scenario: 'query', nodes: 100_000 },
  ...['churn', 'storm', 'half', 'skew'].map((scenario) => ({ scenario, nodes: 10_000 })),
  ...['leave', 'partition', 'outage', 'lossy', 'slow', 'drift', 'keys', 'near'].map((scenario) => ({ scenario, nodes: 1_500 })),
];

/** Beside them what has no world of attributes. */
const shown_experiments: readonly { readonly experiment: string; readonly nodes: number }[] = [{ experiment: 'topics', nodes: 10_000 }, { experiment: 'shapes', nodes: 4_096 }, { experiment: 'dht', nodes: 5_000 }];

/** Runs all of it and writes the figures into docs/overlay.md, the plots beside it. `say` hears of each run. */
export function report(say: (text: string) => void): void {
  mkdirSync(pictures, { recursive: true });
  const parts = shown.map(({ scenario: name, nodes, cycles, picture }) => {
    const scenario = findScenario(name)!;
    say(`${name}: ${nodes ?? scenario.nodes} nodes`);
    const result = run({ scenario, nodes: nodes ?? scenario.nodes, cycles: cycles ?? scenario.cycles, seed: 1 });
    if (picture !== false) writeFileSync(new URL(`${name}.svg`, pictures), svg(result));
    return section(result, scenario.summary, picture !== false);
  });
  parts.push(...shown_experiments.map(({ experiment: name, nodes }) => {
    const { summary, cycles, run: perform } = findExperiment(name)!;
    say(`${name}: ${nodes} nodes`);
    const figures = perform({ nodes, cycles, seed: 1 });
    writeFileSync(new URL(`${name}.svg`, pictures), figuresSvg(figures));
    return sectionOf(figures, summary);
  }));
  const text = readFileSync(page, 'utf8');
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`'docs/overlay.md' has no place for the figures: it needs the lines '${begin}' and '${end}'`);
  writeFileSync(page, `${text.slice(0, from)}${begin}\n\n${parts.join('\n\n')}\n\n${text.slice(to)}`);
}

const percent = (value: number): string => `${(100 * value).toFixed(2)} %`;

const headOf = (name: string, summary: string, { nodes, seed, digest }: { readonly nodes: number; readonly seed: number; readonly digest: number }): string[] =>
  [`### ${name}, ${nodes.toLocaleString('en')} nodes`, '', `${summary[0]!.toUpperCase()}${summary.slice(1)}. Seed ${seed}, digest ${digest.toString(16).padStart(8, '0')}.`, ''];

function sectionOf(figures: Figures, summary: string): string {
  const { experiment, facts: found } = figures;
  return [...headOf(experiment, summary, figures), ...found.map((fact) => `- ${fact}`), '', `![${experiment}](overlay/${experiment}.svg)`].join('\n');
}

function section(result: RunResult, summary: string, picture: boolean): string {
  const lines = headOf(result.scenario, summary, result);
  for (const fact of facts(result)) lines.push(`- ${fact}`);
  if (picture) lines.push('', `![${result.scenario}](overlay/${result.scenario}.svg)`);
  return lines.join('\n');
}

function facts({ cycles, in_degree }: RunResult): string[] {
  const found: string[] = [];
  const last = cycles.at(-1)!;
  found.push(`a node sends ${(last.bytes / 1024).toFixed(1)} KiB in ${last.messages.toFixed(2)} messages a cycle at the end; in-degree ${in_degree.mean.toFixed(1)} ± ${in_degree.deviation.toFixed(1)}`);
  const slots = cycles.filter((row) => row.live !== null);
  if (slots.length > 0) found.push(`live slots ${slots.slice(-6).map((row) => `${percent(row.live!)} at cycle ${row.cycle}`).join(', ')}; dead links ${percent(slots.at(-1)!.dead!)} at the end`);
  const parts = cycles.filter((row) => row.connected !== null);
  if (parts.length > 0) {
    const worst = parts.slice(2).reduce((least, row) => (row.nodes > 0 && row.connected! < least.connected! ? row : least), last);
    found.push(`least connected ${percent(worst.connected!)} at cycle ${worst.cycle}, at the end ${percent(last.connected!)}`);
  }
  const mean = (rows: readonly CycleRow[], value: (row: CycleRow) => number): number => rows.reduce((sum, row) => sum + value(row), 0) / rows.length;
  const some = cycles.filter((row) => row.some !== null);
  if (some.length > 0) found.push(`queries for some: ${mean(some, (row) => row.some!.messages).toFixed(1)} messages, ${mean(some, (row) => row.some!.strangers).toFixed(2)} nodes asked that do not match, ${percent(mean(some, (row) => row.some!.full / row.some!.begun))} full, ${mean(some, (row) => row.some!.dead).toFixed(2)} of the found dead`);
  const all = cycles.filter((row) => row.all !== null && row.all.ended > 0);
  if (all.length > 0) found.push(`queries for all: ${percent(mean(all, (row) => row.all!.share))} of the matches, ${mean(all, (row) => row.all!.messages).toFixed(0)} messages`);
  if (last.coordinate_error !== null) found.push(`median error of foretold round trips ${percent(last.coordinate_error)}`);
  return found;
}

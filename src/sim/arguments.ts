import { XosError } from '../core/errors.ts';
import type { Experiment } from './experiment.ts';
import { experiments, findExperiment } from './experiments/index.ts';
import { findScenario, scenarios, type Scenario } from './scenario.ts';

export interface Arguments {
  /** What happens to a world of attributes, or one of the protocols beside them. */
  readonly scenario: Scenario | Experiment;
  readonly nodes: number;
  readonly cycles: number;
  readonly seed: number;
  readonly json: boolean;
  readonly report: boolean;
  readonly help: boolean;
  /** Where CSV and SVG go; null: nowhere. */
  readonly out: string | null;
}

const nodes_max = 2_000_000;

export function usage(): string {
  const all = [...scenarios, ...experiments];
  const width = Math.max(...all.map(({ name }) => name.length));
  return `usage: npm run sim -- [--scenario NAME] [--nodes N] [--cycles N] [--seed N] [--json] [--out DIRECTORY]
       npm run sim -- --report
Runs the overlay's protocols for many nodes in simulated time. A cycle is ten simulated seconds. Equal seeds give equal runs.
  --scenario NAME  what happens (default settle)
  --nodes N        how many nodes, 1 to ${nodes_max.toLocaleString('en')} (default: the scenario's)
  --cycles N       how many cycles, 1 to 1000 (default: the scenario's)
  --seed N         an integer from 0 to 2^53 - 1 (default 1)
  --json           print the figures alone, as JSON
  --out DIRECTORY  where NAME-NODES-SEED.csv and .svg go (default build/sim)
  --report         run everything that docs/overlay.md shows, and write it there
  --help           this text
Scenarios:
${all.map(({ name, summary, nodes, cycles }) => `  ${name.padEnd(width)}  ${summary} (${nodes.toLocaleString('en')} nodes, ${cycles} cycles)`).join('\n')}`;
}

const bad = (what: string): XosError => new XosError('XOS_USAGE', `${what}\n${usage()}`);

/** Throws XOS_USAGE. */
export function parseArguments(words: readonly string[]): Arguments {
  const found = new Map<string, string>();
  const flags = new Set<string>();
  for (let at = 0; at < words.length; at++) {
    const [word, inline] = split(words[at]!);
    if (['--json', '--report', '--help', '-h'].includes(word) && inline === null) flags.add(word === '-h' ? '--help' : word);
    else if (['--scenario', '--nodes', '--cycles', '--seed', '--out'].includes(word)) {
      const value = inline ?? words[++at];
      if (value === undefined || value === '') throw bad(`'${word}' needs a value`);
      found.set(word, value);
    } else throw bad(`unknown word '${words[at]}'`);
  }
  const name = found.get('--scenario') ?? 'settle';
  const scenario = findScenario(name) ?? findExperiment(name);
  if (scenario === undefined) throw bad(`no scenario '${name}'`);
  return {
    scenario, nodes: integer(found, '--nodes', 1, nodes_max) ?? scenario.nodes, cycles: integer(found, '--cycles', 1, 1_000) ?? scenario.cycles,
    seed: integer(found, '--seed', 0, Number.MAX_SAFE_INTEGER) ?? 1, json: flags.has('--json'), report: flags.has('--report'), help: flags.has('--help'),
    out: found.get('--out') ?? 'build/sim',
  };
}

function split(word: string): readonly [string, string | null] {
  const at = word.indexOf('=');
  return word.startsWith('--') && at > 0 ? [word.slice(0, at), word.slice(at + 1)] : [word, null];
}

function integer(found: ReadonlyMap<string, string>, name: string, min: number, max: number): number | null {
  const text = found.get(name);
  if (text === undefined) return null;
  const value = /^-?[0-9]{1,17}$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value) || value < min || value > max) throw bad(`'${name} ${text.slice(0, 40)}' is not an integer from ${min} to ${max}`);
  return value;
}

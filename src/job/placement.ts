import { limits } from './limits.ts';
import type { LoadReport } from './model.ts';

/** A node that may be chosen for a job; the row that `xos-relayd` gets (docs/architecture.md, `placement`). */
export interface Candidate {
  readonly node: string;
  readonly cpus: number;
  readonly running: number;
  readonly load: number;
  readonly memory_free_bytes: number;
  readonly eligible: boolean;
  /** Why it is not eligible, for people; empty when it is. */
  readonly reason: string;
}

/**
 * Knows which nodes could run a job now. `GridSelector` (monitor.ts) fills it from
 * RSS and ADS. Whatever it knows ends in a table, because the relay chooses without asking (docs/decisions/0003-placement-by-table.md).
 */
export interface NodeSelector {
  /** The candidates as of now, best first; the local node is always among them. */
  candidates(): readonly Candidate[];
}

/** A node of the VO and what was last heard of it. */
export interface KnownNode {
  readonly node: string;
  readonly admitted: boolean;
  /** Whether it has the role `relay`: only then it can run jobs. */
  readonly runs_jobs: boolean;
  readonly report: LoadReport | null;
  /** Age of the report; ignored when there is none. */
  readonly age_ms: number;
}

/** CPUs that nobody uses: the measure of the choice. May be negative. */
export const freeCpus = (candidate: Pick<Candidate, 'cpus' | 'running' | 'load'>): number => candidate.cpus - candidate.running - candidate.load;

/**
 * Turns what is known of the nodes into candidates, best first. A draw goes to the local node: it costs no network. The relay takes the
 * first of equals, so the order is part of the choice.
 */
export function rank(nodes: readonly KnownNode[], local: string): readonly Candidate[] {
  const isLocal = (candidate: Candidate): number => Number(candidate.node === local);
  return nodes.map(assess).sort((a, b) => compareFree(a, b) || isLocal(b) - isLocal(a) || compareRest(a, b));
}

/**
 * The choice for one job among ranked candidates, as `xos-relayd` makes it: the local node while it has a whole free CPU, else the
 * first. Null when no node is eligible.
 */
export function choose(candidates: readonly Candidate[], local: string): { readonly node: string; readonly why: string } | null {
  const eligible = candidates.filter((each) => each.eligible);
  const here = eligible.find((each) => each.node === local);
  if (here !== undefined && freeCpus(here) >= 1) return { node: local, why: `this node has ${free(here)}` };
  const [best] = eligible;
  if (best === undefined) return null;
  if (best.node === local) return { node: local, why: `no other node has more than this one's ${free(best)}` };
  return { node: best.node, why: `it has the most free CPUs (${free(best)}; this node: ${here === undefined ? 'not eligible' : free(here)})` };
}

function assess(known: KnownNode): Candidate {
  const { report } = known;
  const reason = !known.admitted ? 'not admitted to the VO'
    : !known.runs_jobs ? 'does not run jobs (it has no role relay)'
    : report === null ? 'not heard of yet'
    : known.age_ms > limits.report_silence_ms ? `silent for ${Math.round(known.age_ms / 1000)} s`
    : report.memory_free_bytes < limits.memory_free_bytes_min ? 'out of memory'
    : '';
  return {
    node: known.node, cpus: report?.cpus ?? 0, running: report?.running ?? 0, load: report?.load ?? 0,
    memory_free_bytes: report?.memory_free_bytes ?? 0, eligible: reason === '', reason,
  };
}

const compareFree = (a: Candidate, b: Candidate): number => Number(b.eligible) - Number(a.eligible) || freeCpus(b) - freeCpus(a);

/** Among equals: less load (as the relay has it), more free memory, and the name so that the order is the same everywhere. */
const compareRest = (a: Candidate, b: Candidate): number =>
  a.load - b.load || b.memory_free_bytes - a.memory_free_bytes || (a.node < b.node ? -1 : a.node > b.node ? 1 : 0);

const free = (candidate: Candidate): string => {
  const cpus = Math.max(0, freeCpus(candidate));
  return `${Number.isInteger(cpus) ? cpus : cpus.toFixed(2)} of ${candidate.cpus} CPUs free`;
};

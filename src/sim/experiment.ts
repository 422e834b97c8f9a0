/** Figures that are not a world's cycles (run.ts) but of another kind: rows over messages or rounds. Equal for equal options. */
export interface Figures {
  readonly experiment: string;
  readonly nodes: number;
  readonly seed: number;
  /** What a row is: message, round, cycle. */
  readonly over: string;
  /** The names of the columns after the first one, which counts from 1; null: not looked at. */
  readonly columns: readonly string[];
  readonly rows: readonly (readonly (number | null)[])[];
  /** Columns that are shares of 1: they make the plot. */
  readonly plotted: readonly string[];
  /** What bars are set for, by name. */
  readonly totals: Readonly<Record<string, number | null>>;
  /** Sentences for docs/overlay.md. */
  readonly facts: readonly string[];
  readonly digest: number;
}

export interface ExperimentOptions {
  readonly nodes: number;
  readonly cycles: number;
  readonly seed: number;
}

/** One of the protocols that need no world with attributes; `cycles` is how long it goes on at most, in what its rows are over. */
export interface Experiment {
  readonly name: string;
  readonly summary: string;
  readonly nodes: number;
  readonly cycles: number;
  readonly run: (options: ExperimentOptions) => Figures;
}

/** Folds numbers into one that stands for all of them. */
export function digestOf(rows: readonly (readonly (number | null)[])[], last: number): number {
  const view = new DataView(new ArrayBuffer(8));
  let hash = last;
  for (const value of rows.flat()) {
    view.setFloat64(0, value ?? Number.NaN);
    hash = Math.imul(Math.imul(hash ^ view.getUint32(0), 0x01000193) ^ view.getUint32(4), 0x01000193);
  }
  return hash >>> 0;
}

export const percentOf = (share: number): string => `${(100 * share).toFixed(2)} %`;

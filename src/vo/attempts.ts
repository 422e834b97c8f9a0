import { hour_ms } from '../core/units.ts';

/** After `free` failures each further one doubles the wait: 1, 2, 4 … s, at most `ms_max`. */
export interface AttemptRule {
  readonly free: number;
  readonly ms_max: number;
}

/**
 * How wrong passwords are slowed down (docs/decisions/0014-login.md). Whatever counts against a person is capped at a minute, so that a
 * stranger who guesses cannot keep her out; only the place that the guesses come from waits longer.
 */
export const attempt_rules = {
  /** One name at one node. */
  place: { free: 4, ms_max: 60_000 },
  /** One name at all nodes of the VO; not where she got in before. */
  member: { free: 20, ms_max: 60_000 },
  /** One remote host, whatever the names. */
  source: { free: 20, ms_max: 15 * 60_000 },
} as const satisfies Record<string, AttemptRule>;

export type AttemptKind = keyof typeof attempt_rules;

/** What one try counts on: for instance ['place', 'alice n1']. */
export type AttemptKey = readonly [kind: AttemptKind, name: string];

export interface AttemptRecord {
  readonly failures: number;
  readonly last_ms: number;
  readonly until_ms: number;
}

const entries_max = 8_192;
/** Failures are forgotten after this much quiet. */
const quiet_ms = hour_ms;

/** The wait after so many failures in a row, in milliseconds. */
export const attemptDelay = (failures: number, { free, ms_max }: AttemptRule): number => (failures <= free ? 0 : Math.min(1_000 * 2 ** Math.min(failures - free - 1, 30), ms_max));

/**
 * Counts failed tries. Each kind has a table of its own and a bound of its own, and the one that failed longest ago goes first: who
 * makes up names fills the table only as fast as the wait of his source lets him.
 */
export class Attempts {
  readonly #tables: Readonly<Record<AttemptKind, Map<string, AttemptRecord>>> = { place: new Map(), member: new Map(), source: new Map() };
  readonly #max: number;

  constructor(options: { readonly entries_max?: number } = {}) {
    this.#max = options.entries_max ?? entries_max;
  }

  /** Milliseconds until all of the keys may try again; 0: now. */
  wait_ms(keys: readonly AttemptKey[], now_ms: number): number {
    return Math.max(0, ...keys.map(([kind, name]) => (this.get([kind, name], now_ms)?.until_ms ?? 0) - now_ms));
  }

  /** Notes a failure; returns the longest wait that follows from it. */
  failed(keys: readonly AttemptKey[], now_ms: number): number {
    for (const [kind, name] of keys) {
      const failures = (this.get([kind, name], now_ms)?.failures ?? 0) + 1;
      const table = this.#tables[kind];
      table.delete(name);
      const [oldest] = table.keys();
      if (table.size >= this.#max && oldest !== undefined) table.delete(oldest);
      table.set(name, { failures, last_ms: now_ms, until_ms: now_ms + attemptDelay(failures, attempt_rules[kind]) });
    }
    return this.wait_ms(keys, now_ms);
  }

  /** Forgets what was counted on the keys; false when there was nothing. */
  clear(keys: readonly AttemptKey[]): boolean {
    return keys.map(([kind, name]) => this.#tables[kind].delete(name)).includes(true);
  }

  /** null when nothing is counted (any more). A clock that was set back does not make anybody wait longer than the rule says. */
  get([kind, name]: AttemptKey, now_ms: number): AttemptRecord | null {
    const found = this.#tables[kind].get(name);
    if (found === undefined || now_ms - found.last_ms > quiet_ms) return null;
    return { ...found, until_ms: Math.min(found.until_ms, now_ms + attempt_rules[kind].ms_max) };
  }

  /** What is counted on names of a kind that begin with `prefix`. */
  list(kind: AttemptKind, prefix: string, now_ms: number): readonly (readonly [string, AttemptRecord])[] {
    return [...this.#tables[kind].keys()].filter((name) => name.startsWith(prefix)).flatMap((name) => {
      const record = this.get([kind, name], now_ms);
      return record === null ? [] : [[name, record] as const];
    });
  }

  save(): string {
    return JSON.stringify(Object.fromEntries(Object.entries(this.#tables).map(([kind, table]) => [kind, [...table]])));
  }

  /** Takes up what `save` gave; what does not look like it is left out. */
  load(text: string): void {
    const kept = JSON.parse(text) as Partial<Record<AttemptKind, readonly unknown[]>>;
    for (const kind of Object.keys(this.#tables) as AttemptKind[]) {
      for (const entry of (Array.isArray(kept[kind]) ? kept[kind] : []).slice(-this.#max)) {
        const [name, record] = (Array.isArray(entry) ? entry : []) as [string?, AttemptRecord?];
        const { failures = NaN, last_ms = NaN, until_ms = NaN } = record ?? {};
        if (typeof name === 'string' && [failures, last_ms, until_ms].every(Number.isFinite)) this.#tables[kind].set(name, { failures, last_ms, until_ms });
      }
    }
  }
}

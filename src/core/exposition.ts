/**
 * Prometheus' text format (version 0.0.4), as far as our servers speak it: reading it again, and what one wants to know of two readings.
 * https://prometheus.io/docs/instrumenting/exposition_formats/
 */

/** Series (`name{label="value"}`, as it is written) → value. */
export type Metrics = ReadonlyMap<string, number>;

/** Lines that are none are left out: a newer server may say more than this version knows. */
export function parseMetrics(text: string): Metrics {
  const found = new Map<string, number>();
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const blank = line.lastIndexOf(' ');
    const value = Number(line.slice(blank + 1));
    if (blank > 0 && Number.isFinite(value)) found.set(line.slice(0, blank), value);
  }
  return found;
}

/** A sample without labels, or the sum over all that have the label given (`op="read"`). 0 when there is none. */
export function total(metrics: Metrics, name: string, label = ''): number {
  let sum = metrics.get(name) ?? 0;
  for (const [series, value] of metrics) if (series.startsWith(`${name}{`) && series.includes(label)) sum += value;
  return sum;
}

/** What a counter grew by; one that is smaller than before began anew with its server. */
export function growth(before: Metrics | null, now: Metrics, name: string, label = ''): number {
  const is = total(now, name, label);
  const was = before === null ? 0 : total(before, name, label);
  return is >= was ? is - was : is;
}

/**
 * The time in which the share `share` of what a histogram observed between two readings was done: the upper bound of its bucket, in seconds.
 * Null when nothing was observed, Infinity behind the last bound.
 */
export function quantile(before: Metrics | null, now: Metrics, name: string, share: number): number | null {
  const bounds = new Map<number, number>();
  for (const [series, value] of now) {
    if (!series.startsWith(`${name}_bucket{`)) continue;
    const bound = Number((/le="([^"]+)"/.exec(series)?.[1] ?? '').replace('+Inf', 'Infinity'));
    const was = before?.get(series) ?? 0;
    if (!Number.isNaN(bound)) bounds.set(bound, (bounds.get(bound) ?? 0) + (value >= was ? value - was : value));
  }
  const sorted = [...bounds].sort(([a], [b]) => a - b);
  const all = sorted.at(-1)?.[1] ?? 0;
  if (all === 0) return null;
  return sorted.find(([, count]) => count >= all * share)?.[0] ?? null;
}

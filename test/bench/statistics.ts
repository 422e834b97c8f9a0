// The little statistics that a benchmark on a noisy machine needs.

/** The middle of the samples (mean of the two middle ones when their number is even); NaN of none. */
export function median(samples: readonly number[]): number {
  const sorted = [...samples].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle]
  if (upper === undefined) return Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2
}

export interface Summary { readonly median: number, readonly min: number, readonly max: number, readonly count: number }

export function summarise(samples: readonly number[]): Summary {
  return { median: median(samples), min: Math.min(...samples), max: Math.max(...samples), count: samples.length }
}

/** A bar of the issue: the ratio of two measures of one run (or of a measure and a constant), and its limit. */
export interface Bar {
  readonly label: string
  readonly measure: string
  /** Id of the measure to compare with, or a constant in the measure's unit. */
  readonly against: string | number
  readonly atMost?: number
  readonly atLeast?: number
}

export type Verdict = 'met' | 'not met' | 'not measured'

export interface Judged { readonly bar: Bar, readonly ratio: number, readonly verdict: Verdict }

/** Judges a bar by the medians; without samples on either side it is 'not measured', never 'met'. */
export function judge(bar: Bar, samples: ReadonlyMap<string, readonly number[]>): Judged {
  const of = median(samples.get(bar.measure) ?? [])
  const against = typeof bar.against === 'number' ? bar.against : median(samples.get(bar.against) ?? [])
  // 0 of a count is a fine value: 0 / 0 is then 0, and anything over 0 infinite.
  const ratio = of === 0 && against === 0 ? 0 : of / against
  if (Number.isNaN(ratio)) return { bar, ratio, verdict: 'not measured' }
  const met = (bar.atMost === undefined || ratio <= bar.atMost) && (bar.atLeast === undefined || ratio >= bar.atLeast)
  return { bar, ratio, verdict: met ? 'met' : 'not met' }
}

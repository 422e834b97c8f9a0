import { type Judged, judge, summarise } from './statistics.ts'
import { digits, quantity, table } from './table.ts'
import type { Samples, Topic } from './topic.ts'

/** The tables of a finished run: every bar with its ratio, every measure with its median and range, what is missing and why. */
export function report(topic: Topic, samples: Samples, machine: string): string {
  const parts = [`${topic.name}: ${machine}`, bars(topic, samples), measures(topic, samples)]
  if (samples.missing.size > 0) parts.push(missing(topic, samples))
  if (samples.notes.length > 0) parts.push(samples.notes.join('\n'))
  return parts.join('\n\n') + '\n'
}

function bars(topic: Topic, samples: Samples): string {
  const units = new Map(topic.measures.map(({ id, unit }) => [id, unit]))
  const rows = topic.bars.map((bar) => {
    const judged = judge(bar, samples.values)
    const unit = units.get(bar.measure) ?? 'count'
    const value = (of: string | number): string => quantity(typeof of === 'number' ? of : summarise(samples.values.get(of) ?? []).median, unit)
    return [bar.label, value(bar.measure), value(bar.against), `${digits(judged.ratio)}×`.replace('–×', '–'), limit(judged), judged.verdict]
  })
  return table(['bar', 'ours', 'against', 'ratio', 'limit', ''], rows, ['left', 'right', 'right', 'right', 'right', 'left'])
}

function limit({ bar }: Judged): string {
  if (bar.atMost !== undefined) return `≤ ${bar.atMost}`
  return bar.atLeast === undefined ? '' : `≥ ${bar.atLeast}`
}

function measures(topic: Topic, samples: Samples): string {
  const rows = topic.measures.map(({ id, label, unit }) => {
    const { median, min, max, count } = summarise(samples.values.get(id) ?? [])
    return [label, quantity(median, unit), count < 2 ? '' : `${digits(min)} – ${digits(max)}`, String(count)]
  })
  return table(['measured', 'median', 'range', 'rounds'], rows, ['left', 'right', 'right', 'right'])
}

/** What has no number, by reason: one missing anchor is one reason for many measures. */
function missing(topic: Topic, samples: Samples): string {
  const reasons = new Map<string, string[]>()
  for (const { id, label } of topic.measures) {
    const why = samples.missing.get(id)
    if (why !== undefined) reasons.set(why, [...reasons.get(why) ?? [], label])
  }
  return [...reasons].map(([why, labels]) => `not measured: ${labels.join(', ')}:\n  ${why}`).join('\n')
}

/** The same for programs; the shape is described in docs/benchmarks.md. */
export function reportJson(topic: Topic, samples: Samples, machine: string): unknown {
  return {
    topic: topic.name,
    machine,
    measures: topic.measures.map(({ id, label, unit }) => {
      const values = samples.values.get(id) ?? []
      const { median, min, max } = summarise(values)
      return { id, label, unit, samples: values, ...(values.length > 0 && { median, min, max }), missing: samples.missing.get(id) ?? null }
    }),
    bars: topic.bars.map((bar) => {
      const { ratio, verdict } = judge(bar, samples.values)
      return { ...bar, ratio: Number.isFinite(ratio) ? ratio : null, verdict }
    }),
    notes: samples.notes,
  }
}

import test from 'ava'
import { report, reportJson } from './report.ts'
import { type Topic, noSamples } from './topic.ts'

const topic: Topic = {
  name: 'fs',
  measures: [{ id: 'ours', label: 'home volume', unit: '/s' }, { id: 'theirs', label: 'anchor', unit: '/s' }, { id: 'other', label: 'other', unit: 'ms' }],
  bars: [{ label: 'create', measure: 'ours', against: 'theirs', atLeast: 2 }],
  probes: [],
}

test('a report has every bar with both medians, the ratio, its limit and the verdict', (t) => {
  const samples = noSamples()
  samples.values.set('ours', [300, 500, 400]).set('theirs', [100])
  const lines = report(topic, samples, 'this machine').split('\n')
  t.is(lines[0], 'fs: this machine')
  t.true(lines.some((line) => /^create +400 \/s +100 \/s +4\.00× +≥ 2 +met$/.test(line)), lines.join('\n'))
  t.true(lines.some((line) => /^home volume +400 \/s +300 – 500 +3$/.test(line)), lines.join('\n'))
})

test('what is missing is told once per reason, and its bar is not met for it', (t) => {
  const samples = noSamples()
  samples.values.set('ours', [300])
  samples.missing.set('theirs', 'no such package').set('other', 'no such package')
  const text = report(topic, samples, '')
  t.regex(text, /create .*not measured/)
  t.is(text.split('no such package').length, 2)
  t.regex(text, /not measured: anchor, other:/)
})

test('the JSON form keeps every sample', (t) => {
  const samples = noSamples()
  samples.values.set('ours', [300, 500]).set('theirs', [100])
  const json = JSON.parse(JSON.stringify(reportJson(topic, samples, 'm')))
  t.deepEqual(json.measures[0], { id: 'ours', label: 'home volume', unit: '/s', samples: [300, 500], median: 400, min: 300, max: 500, missing: null })
  t.like(json.bars[0], { ratio: 4, verdict: 'met' })
})

// npm run bench -- exec|fs|checkpoint|boot|kmod|overlay|login|isolation: our system and its anchors side by side. See docs/benchmarks.md.

import { writeFile } from 'node:fs/promises'
import { XosError } from '../../src/core/errors.ts'
import { type Arguments, type TopicName, parseArguments } from './arguments.ts'
import { Bench, machine } from './bench.ts'
import { bootTopic } from './boot/index.ts'
import { checkpointTopic } from './checkpoint/index.ts'
import { Cleanup } from './cleanup.ts'
import { reason } from './errors.ts'
import { execTopic } from './exec/index.ts'
import { fsTopic } from './fs/index.ts'
import { isolationTopic } from './isolation/index.ts'
import { kmodTopic } from './kmod/index.ts'
import { loginTopic } from './login/index.ts'
import { overlayTopic } from './overlay/index.ts'
import { report, reportJson } from './report.ts'
import { type Samples, type Topic, noSamples, runRounds } from './topic.ts'

/** A topic, ready to be run: what has failed in its preparation is in `samples.missing` already. */
export type Prepare = (bench: Bench, samples: Samples) => Promise<Topic>

const prepare: Readonly<Record<TopicName, Prepare>> = { exec: execTopic, fs: fsTopic, checkpoint: checkpointTopic, boot: bootTopic, kmod: kmodTopic, overlay: overlayTopic, login: loginTopic, isolation: isolationTopic }

async function main(): Promise<number> {
  const options = parseArguments(process.argv.slice(2))
  if (process.getuid?.() !== 0) throw new XosError('XOS_BENCH_ROOT', 'cannot make namespaces for grid and anchors: run the bench as root')
  const interrupted = new AbortController()
  const cleanup = new Cleanup()
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => {
      interrupted.abort(new XosError('XOS_ABORTED', `interrupted by ${name}`))
      // What a probe waits for goes away with what is released, so nothing has to be waited for twice.
      void cleanup.close()
    })
  }
  try {
    await runTopics(options, cleanup, interrupted.signal)
    return 0
  } finally {
    await cleanup.close()
  }
}

async function runTopics(options: Arguments, cleanup: Cleanup, signal: AbortSignal): Promise<void> {
  const began = performance.now()
  const say = (text: string): void => {
    process.stderr.write(`[${((performance.now() - began) / 1_000).toFixed(0).padStart(4)} s] ${text}\n`)
  }
  const bench = new Bench({ quick: options.quick, keep: options.keep, signal, cleanup, say })
  const results: unknown[] = []
  for (const name of options.topics) {
    const samples = noSamples()
    say(`${name}: preparing`)
    const topic = await prepare[name](bench, samples)
    await runRounds(topic.probes, samples, { rounds: options.rounds, signal, say: (text) => { say(`${name}: ${text}`) } })
    process.stdout.write(`\n${report(topic, samples, machine())}\n`)
    results.push(reportJson(topic, samples, machine()))
    if (options.json !== null) await writeFile(options.json, `${JSON.stringify(results, null, 2)}\n`)
  }
}

try {
  process.exitCode = await main()
} catch (error) {
  process.stderr.write(`bench: ${reason(error)}\n`)
  process.exitCode = error instanceof XosError && error.code === 'XOS_USAGE' ? 2 : 1
}
// A child that could not be ended must not keep the bench from ending: everything is released by now.
process.exit()

import { writeFileSync } from 'node:fs'
import { startGluster, glusterMount } from '../anchors/gluster.ts'
import type { Bench } from '../bench.ts'
import { reason } from '../errors.ts'
import { once } from '../once.ts'
import { type Part, type Runner, field, topicOf } from '../part.ts'
import { lasting } from '../shell.ts'
import type { Bar } from '../statistics.ts'
import type { Unit } from '../table.ts'
import type { Probe, Samples, Topic } from '../topic.ts'

/** A directory to measure in, and how scripts get there. */
export interface Volume {
  readonly id: string
  readonly label: string
  readonly directory: string
  readonly runner: () => Promise<Runner>
}

interface Row {
  readonly id: string
  readonly label: string
  readonly unit: Unit
  /** Bar against GlusterFS: at least so many times as many a second; for seconds, at most. */
  readonly bar: Pick<Bar, 'atLeast' | 'atMost'>
  /** The server's and the client's kernel caches are dropped first. */
  readonly cold?: boolean
  readonly script: (directory: string) => string
  readonly field: string
}

function rows(bench: Bench): Row[] {
  const files = bench.count(2_000, 300)
  const mib = bench.count(1_024, 128)
  const seconds = bench.count(5, 2)
  const phase = (name: string) => (directory: string): string => `bench-files ${name} ${directory}/small ${files}`
  const fio = (mode: string) => (directory: string): string => `fio --name=${mode} --filename=${directory}/big --size=${mib}m --rw=${mode} --bs=4k \
    --iodepth=1 --ioengine=psync --direct=1 --time_based --runtime=${seconds} --randrepeat=0 --output-format=json > ${scratch}/fio.json
    sed -n '/^{/,$p' ${scratch}/fio.json | tr -d '\\n' && echo`
  const timed = (script: (directory: string) => string) => (directory: string): string => `began=$(date +%s%N)
    ${script(directory)}
    echo "{\\"seconds\\": $(( ($(date +%s%N) - began) / 1000000 ))e-3}"`
  const faster = { atLeast: 1 }
  const twice = { atLeast: 2 }
  const shorter = { atMost: 1 }
  return [
    { id: 'create', label: 'files created', unit: '/s', bar: twice, script: phase('create'), field: 'per_second' },
    // Right after they were made: the servers' caches are warm, the disk is not what is measured.
    { id: 'open', label: 'open, read, close of a small file', unit: '/s', bar: twice, script: phase('read'), field: 'per_second' },
    { id: 'stat-cold', label: 'stat, cold', unit: '/s', bar: twice, cold: true, script: phase('stat'), field: 'per_second' },
    { id: 'stat-again', label: 'stat, repeated', unit: '/s', bar: twice, script: phase('repeat'), field: 'per_second' },
    { id: 'rename', label: 'rename', unit: '/s', bar: faster, script: phase('rename'), field: 'per_second' },
    { id: 'unlink', label: 'unlink', unit: '/s', bar: faster, script: phase('unlink'), field: 'per_second' },
    { id: 'untar', label: 'untar of a package tree', unit: 's', bar: shorter, script: timed((directory) => `mkdir ${directory}/tree; tar -xf ${scratch}/tree.tar -C ${directory}/tree --no-same-owner`), field: 'seconds' },
    { id: 'list', label: 'ls -lR, cold', unit: 's', bar: shorter, cold: true, script: timed((directory) => `ls -lR ${directory}/tree > /dev/null`), field: 'seconds' },
    { id: 'write', label: `write ${mib} MiB and fsync`, unit: 'MiB/s', bar: faster, script: (directory) => `bench-files write ${directory}/big ${mib}`, field: 'per_second' },
    { id: 'read', label: `read ${mib} MiB, cold`, unit: 'MiB/s', bar: faster, cold: true, script: (directory) => `bench-files seqread ${directory}/big ${mib}`, field: 'per_second' },
    { id: 'random-read', label: 'random read of 4 KiB', unit: 'IOPS', bar: faster, cold: true, script: fio('randread'), field: 'jobs.0.read.iops' },
    { id: 'random-write', label: 'random write of 4 KiB', unit: 'IOPS', bar: faster, script: fio('randwrite'), field: 'jobs.0.write.iops' },
  ]
}

/** Not on a volume: where the tar file and fio's answer are. */
const scratch = '/tmp/bench-fs'

export async function fsTopic(bench: Bench, _samples: Samples): Promise<Topic> {
  const { cleanup, say, signal } = bench.options
  const session = lasting(async () => {
    const shell = await (await bench.grid()).session('n1')
    cleanup.add('a session', () => shell.close())
    return shell
  })
  const volumes: Volume[] = [
    {
      id: 'ours', label: 'home volume', directory: '/home/alice/bench-fs',
      runner: async () => {
        const shell = await session()
        // All on n1: what is compared here is the file system, not where a program runs.
        return { sh: (script, options) => shell.sh(`export XOS_LOCAL=1\n${script}`, options) }
      },
    },
    {
      id: 'gluster', label: 'GlusterFS', directory: `${glusterMount}/bench-fs`,
      runner: once(async () => {
        const pen = await bench.pen()
        await bench.programs()
        await startGluster(pen)
        return pen
      }),
    },
    {
      id: 'disk', label: 'disk', directory: '/state/bench-fs',
      runner: once(async () => { await bench.programs(); return bench.pen() }),
    },
  ]
  for (const volume of volumes) {
    signal.throwIfAborted()
    say(`fs: starting ${volume.label}`)
    await volume.runner().catch((error: unknown) => { say(`fs: ${volume.label}: ${reason(error)}`) })
  }
  const files = bench.count(4_000, 400)
  const parts = rows(bench).map((row) => part(row, volumes))
  return {
    ...topicOf('fs', parts),
    probes: [...volumes.map((volume) => begin(volume, files)), ...parts.flatMap(({ probes }) => probes), ...volumes.map((volume) => end(volume))],
  }
}

function part(row: Row, volumes: readonly Volume[]): Part {
  return {
    measures: volumes.map((volume) => ({ id: `${row.id}.${volume.id}`, label: `${row.label}: ${volume.label}`, unit: row.unit })),
    bars: [{ label: row.label, measure: `${row.id}.ours`, against: `${row.id}.gluster`, ...row.bar }],
    probes: volumes.map((volume) => measured(row, volume)),
  }
}

function measured(row: Row, volume: Volume): Probe {
  const id = `${row.id}.${volume.id}`
  return {
    ids: [id],
    run: async () => {
      const runner = await volume.runner()
      if (row.cold === true) await dropCaches(runner)
      return { [id]: await field(runner, row.script(volume.directory), row.field, 600_000) }
    },
  }
}

/** What is dirty is written first, so that nothing stays for being dirty. The whole machine's, servers included: one kernel runs all. */
async function dropCaches(runner: Runner): Promise<void> {
  await runner.sh('sync', { timeout_ms: 120_000 })
  writeFileSync('/proc/sys/vm/drop_caches', '3')
}

function begin(volume: Volume, files: number): Probe {
  return {
    ids: [],
    run: async () => {
      const runner = await volume.runner()
      await runner.sh(`rm -rf ${volume.directory} ${scratch}; mkdir ${volume.directory} ${scratch}; bench-files tree ${scratch}/tree.tar ${files}`, { timeout_ms: 300_000 })
      return {}
    },
  }
}

function end(volume: Volume): Probe {
  return {
    ids: [],
    run: async () => {
      await (await volume.runner()).sh(`rm -rf ${volume.directory} ${scratch}`, { timeout_ms: 600_000 })
      return {}
    },
  }
}

// VO a at its worst, and what is left to VO b beside it: a test looks that nothing of b fails (neighbours.test.ts), the bench how much
// of the machine b keeps (npm run bench -- isolation).
//
//   VO a ── fork bomb, memory hog, disk hog ──┐
//   VO b ── work that counts ─────────────────┴── n1 (2 processors, one disk)
import { setTimeout as sleep } from 'node:timers/promises'
import type { Policy } from '../../../src/isolation/policy.ts'
import type { VoGuest } from './vo-guest.ts'

/** What the owner of a machine of 768 MiB lets each of two VOs have. Processors are shared by weight alone. */
export const share: Policy = { 'memory.max': String(256 << 20), 'pids.max': '512', 'io.write.max': String(32 << 20) }

/**
 * What needs no new process once the bomb has them all: else memory and disk are left alone from the first refused fork on. Of the memory hog each process waits for the
 * death of the one before it, and then takes memory until the kernel kills it too; it asks to be the one killed,
 * so that neither the job's first process, whose end is the job's, nor the bomb is. The disk is written as fast as it goes.
 */
const steady = [
  `exec perl -e 'for (1 .. 192) { pipe $end, $life; defined($pid = fork) or die; last if $pid; close $life; $before = $end; undef $end; undef $life }
if (!$before) { close $life; 1 while wait != -1; exit }
open $adj, ">", "/proc/self/oom_score_adj"; syswrite $adj, 1000;
sysread $before, $word, 1; push @kept, "x" x (16 << 20) while 1'`,
  `exec perl -e 'use IO::Handle; $block = "x" x (1 << 20);
while (1) { open $file, ">", "/var/tmp/hog-a" or die; syswrite $file, $block for 1 .. 256; $file->sync; close $file }'`,
] as const

/** Each of the processes that are left to it goes on forking when that is refused. */
const bomb = "exec perl -e '1 while defined fork || 1'"

/**
 * Counts pieces of work for so many seconds: SHA-256 of 16 KiB, over and over. Small enough to stay in any cache: an emulated processor forgets all
 * translations of addresses at each change of process, which would be measured with anything larger, and which no real one does.
 */
const count = `import hashlib, sys, time
piece = bytes(16384)
end = time.monotonic() + float(sys.argv[1])
begun, done = time.monotonic(), 0
while time.monotonic() < end:
    hashlib.sha256(piece).digest()
    done += 1
print(done / (time.monotonic() - begun))`

/** What programs do: processes, memory, files. Ends with a word when any of it fails. */
const live = `import os, sys, time
end, rounds = time.monotonic() + float(sys.argv[1]), 0
while time.monotonic() < end:
    pid = os.fork()
    if pid == 0: os.execv('/bin/true', ['true'])
    if os.waitpid(pid, 0)[1] != 0: sys.exit('a program failed')
    kept = bytearray(24 << 20)
    for at in range(0, len(kept), 4096): kept[at] = 1
    written = os.urandom(1 << 20)
    with open('/var/tmp/lives-b', 'wb') as file:
        file.write(written)
        file.flush()
        os.fsync(file.fileno())
    with open('/var/tmp/lives-b', 'rb') as file:
        if file.read() != written: sys.exit('a file was not what was written')
    rounds += 1
print(rounds)`

const script = (text: string, seconds: number): string => `exec python3 -c ${JSON.stringify(text).replaceAll('\\n', '\n')} ${seconds}`

/** Refused forks, processes killed for memory, bytes on the disk: what the hogs have come to so far. */
export async function harm (vo: VoGuest): Promise<readonly number[]> {
  const group = '/sys/fs/cgroup/xos.slice/xos-a.slice'
  const said = await vo.g.must(`awk '$1 == "max" {print $2}' ${group}/pids.events; awk '$1 == "oom_kill" {print $2}' ${group}/memory.events; grep -o 'wbytes=[0-9]*' ${group}/io.stat | awk -F= '{all += $2} END {print all + 0}'`, { timeout_ms: 300_000 })
  return said.trim().split('\n').map(Number)
}

/** Waits until each of the hogs has done more than `before` says: that none of them had given up since. */
export async function stillAtIt (vo: VoGuest, before: readonly number[], signal: AbortSignal): Promise<void> {
  const end = performance.now() + 600_000
  for (;;) {
    const now = await harm(vo)
    if (now.every((value, at) => value > (before[at] ?? 0))) return
    if (performance.now() > end) throw new Error(`a hog of VO a gave up: refused forks, kills and bytes were ${before.join(', ')} and are ${now.join(', ')}`)
    await sleep(2_000, undefined, { signal })
  }
}

/** All three at once, each begun anew when it ends, until `signal` aborts or the guest is gone. Resolves when each is at it. */
export async function letLoose (vo: VoGuest, signal: AbortSignal): Promise<void> {
  const keep = async (line: string): Promise<void> => {
    while (!signal.aborted) {
      await vo.job('a', line, 3_600_000).catch(() => {})
      await sleep(2_000, undefined, { signal }).catch(() => {})
    }
  }
  const group = '/sys/fs/cgroup/xos.slice/xos-a.slice'
  for (const line of steady) void keep(line)
  await vo.g.until(`grep -qE 'oom_kill [1-9]' ${group}/memory.events && grep -qE 'wbytes=[1-9][0-9]{6}' ${group}/io.stat`, 300_000)
  void keep(bomb)
  await vo.g.until(`grep -qE 'max [1-9]' ${group}/pids.events`, 300_000)
}

/** Pieces of work a second of VO b, by as many jobs as there are processors. */
export async function throughput (vo: VoGuest, seconds: number): Promise<number> {
  const each = await Promise.all([1, 2].map(() => vo.job('b', script(count, seconds), 600_000)))
  for (const { status, stderr } of each) if (status !== 0) throw new Error(`VO b's work ended with ${status}: ${stderr}`)
  return each.reduce((sum, { stdout }) => sum + Number(stdout), 0)
}

/** Rounds of ordinary life that VO b got through in so many seconds. Fails when anything of it does. */
export async function ordinaryLife (vo: VoGuest, seconds: number): Promise<number> {
  const { status, stdout, stderr } = await vo.job('b', script(live, seconds), 600_000)
  if (status !== 0) throw new Error(`VO b's work ended with ${status}: ${stdout}${stderr}`)
  return Number(stdout)
}

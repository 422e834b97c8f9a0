// A fork bomb, a memory hog and a disk hog of one VO at once: they are held, and nothing of the other VO fails. How much of the machine is left
// to the other one is measured by `npm run bench -- isolation`.
//
//   VO a ── the three ──┐
//   VO b ── its work ───┴── n1 (systemd, cgroup v2, kernel 6.12)
import test from 'ava'
import { harm, letLoose, ordinaryLife, share, stillAtIt, throughput } from './neighbours.ts'
import { bootVoGuest } from './vo-guest.ts'

test.serial('beside a fork bomb, a memory hog and a disk hog of another VO everything of a VO works', async (t) => {
  t.timeout(1_200_000)
  const vo = await bootVoGuest(t)
  const stop = new AbortController()
  t.teardown(() => stop.abort())
  const a = await vo.limit('a', share)
  const b = await vo.limit('b', share)
  await letLoose(vo, stop.signal)
  const before = await harm(vo)
  t.true(await ordinaryLife(vo, 20) > 0)
  t.true(await throughput(vo, 5) > 0)
  // The three are still at it, none of it was of b, and the machine itself answers.
  await stillAtIt(vo, before, stop.signal)
  t.is((await vo.g.must(`awk '$1 == (FILENAME ~ /pids/ ? "max" : "oom_kill") {print $2}' ${b}/pids.events ${b}/memory.events`)).trim(), '0\n0')
  t.true(Number(await vo.g.must(`cat ${a}/memory.peak`)) <= 256 << 20)
  t.true(Number(await vo.g.must(`cat ${a}/pids.peak`)) <= 512)
  t.is((await vo.g.run('systemctl --failed --plain --no-legend')).stdout, '')
  // Each process that is killed for memory has its call trace in the log; nothing else may have one.
  t.is((await vo.g.run("dmesg | grep -E 'BUG:|WARNING:|Oops|soft lockup|stall|hung_task|Kernel panic|corrupted'")).stdout, '')
})

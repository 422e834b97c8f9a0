// All modules come and go while programs use them: nothing leaks, nothing is told by the kernel.
//
//   test ── n1 (kernel 6.12 with checks in slabs; two programs that use what comes and goes)
import test from 'ava'
import { kernelSelftest, moduleNames } from '../../../src/setup/build/kmod.mjs'
import { bootGuest, checkedKernel, type Guest } from '../support/guest.ts'
import { rounds, whole } from './selftest.ts'

/** Objects that the kernel holds in the slabs which modules take from; their numbers are exact in slabs with checks. What can be had again is given back first. */
async function held (g: Guest): Promise<{ readonly objects: number, readonly keys: number }> {
  const text = await g.must("sync; for i in 1 2 3; do echo 3 > /proc/sys/vm/drop_caches; sleep 1; done; awk '/^kmalloc/ {all += $2} $1 == \"key_jar\" {keys = $2} END {print all; print keys}' /proc/slabinfo")
  const [objects = 0, keys = 0] = text.trim().split('\n').map(Number)
  return { objects, keys }
}

test.serial(`modules are loaded and unloaded ${rounds} times under load, and leave nothing`, async (t) => {
  t.timeout(3_600_000)
  if (rounds < whole) t.log(`${rounds} rounds; XOS_ROUNDS=${whole} does as many`)
  const names = moduleNames()
  t.true(names.includes('xos_cred'))
  const g = await bootGuest(t, { ...checkedKernel, modules: names })
  await g.put(await kernelSelftest(g.machine.layers, 'xos_cred', 'test'), '/run/xos_cred_test', '0755')
  await g.put(await kernelSelftest(g.machine.layers, 'xos_cred', 'cycle'), '/run/cycle', '0755')
  const cycle = (count: number): string => `/run/cycle ${count} ${names.map((name) => `/run/kmod/${name}.ko`).join(' ')}`

  await g.must([...names].reverse().map((name) => `rmmod ${name}`).join(' && '))
  await g.must(cycle(50), { timeout_ms: 600_000 }) // what is made once and stays, such as a generic netlink family's place
  const before = await held(g)
  const users = [
    g.start('renice -n 10 $$ > /dev/null; while :; do /run/xos_cred_test churn 200 > /dev/null 2>&1; done', { timeout_ms: 3_000_000 }),
    g.start('renice -n 10 $$ > /dev/null; while :; do /bin/true; find /proc/self -name status > /dev/null; done', { timeout_ms: 3_000_000 }),
  ]
  const begun = performance.now()
  await g.must(cycle(rounds), { timeout_ms: 3_000_000 })
  t.log(`${rounds} times ${names.join(', ')}: ${Math.round((performance.now() - begun) / 1000)} s`)
  for (const user of users) user.signal(9)
  await g.must('pkill -9 -x xos_cred_test; sleep 2; true')
  const after = await held(g)
  t.log(`objects of kmalloc: ${before.objects} before, ${after.objects} after; keys: ${before.keys} and ${after.keys}`)
  // One lost in each round would be as many as those; the rest of a machine has some more or less at any time.
  t.true(after.objects - before.objects < rounds / 2, `${after.objects - before.objects} objects more than before`)
  t.true(after.keys - before.keys < rounds / 10, `${after.keys - before.keys} keys more than before`)
  t.is(await g.splats(), '')
  const [taint, left] = (await g.must('cat /proc/sys/kernel/tainted; lsmod | grep -c xos_ || true')).trim().split('\n').map(Number)
  t.deepEqual([(taint ?? -1) & ~(4096 | 8192), left], [0, 0], 'tainted by modules from outside, unsigned, and by nothing else; none is left')
})

// Limits of the disk, on a real disk of the guest: what io.max makes of two VOs that write at once.
//
//   VO a ── writes ──┐
//   VO b ── writes ──┴── n1 (one virtio disk, ext4 below the overlay of /)
import test from 'ava'
import type { Guest } from '../support/guest.ts'
import { bootVoGuest } from './vo-guest.ts'

/** Past the page cache, so that the writer waits for the disk; the name keeps two jobs apart. */
const write = (name: string, mib: number): string => `exec dd if=/dev/zero of=/var/tmp/${name} bs=256K count=${4 * mib} oflag=direct conv=fsync`

/** The disk that is written to: `254:64`, `vde`. */
async function diskOf (g: Guest): Promise<{ number: string, name: string }> {
  const name = (await g.must("lsblk -ndo NAME,RO -e 7 | awk '$2 == 0 {print $1}' | tail -n 1")).trim()
  return { name, number: (await g.must(`cat /sys/block/${name}/dev`)).trim() }
}

const written = async (g: Guest, slice: string, disk: string): Promise<number> => Number(/wbytes=(\d+)/.exec((await g.must(`grep '^${disk} ' ${slice}/io.stat || true`)))?.[1] ?? 0)

test.serial('a VO writes no faster than its limit, is charged for what it writes, and is let go when the limit is taken back', async (t) => {
  t.timeout(600_000)
  const { g, limit, job } = await bootVoGuest(t)
  const a = await limit('a', { 'io.write.max': String(1 << 20) })
  const b = await limit('b', {})
  const disk = await diskOf(g)
  t.regex(await g.must(`cat ${a}/io.max`), new RegExp(`^${disk.number} rbps=max wbps=1048576 `, 'm'))
  // The one with a limit begins first and has as much to do: 24 s at least. The other one is done before it.
  let done = ''
  const slow = job('a', write('a', 24), 300_000).then((finished) => { done += 'a'; return finished })
  await g.until(`grep -q '^${disk.number} .*wbytes=[1-9]' ${a}/io.stat`)
  const fast = await job('b', write('b', 24), 300_000)
  done += 'b'
  t.is(fast.status, 0, fast.stderr)
  t.true(await written(g, b, disk.number) >= 24 << 20)
  t.is((await slow).status, 0)
  t.is(done, 'ba')
  t.true(await written(g, a, disk.number) >= 24 << 20)
  // Also what goes through the page cache is charged to the VO, whoever writes it back.
  const before = await written(g, a, disk.number)
  t.is((await job('a', 'dd if=/dev/zero of=/var/tmp/buffered bs=1M count=4 conv=fsync', 300_000)).status, 0)
  t.true(await written(g, a, disk.number) - before >= 4 << 20)
  await limit('a', {})
  t.is(await g.must(`grep -c '^${disk.number} .*wbps=[0-9]' ${a}/io.max || true`), '0\n')
  t.is(await g.splats(), '')
})

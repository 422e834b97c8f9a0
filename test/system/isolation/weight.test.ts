// Weights of the disk, where its scheduler knows them: two VOs read at once from a disk that has not enough for both.
//
//   VO a (io.weight 10)  ── reads ──┐
//   VO b (io.weight 100) ── reads ──┴── n1 (one virtio disk that does 150 operations a second, by QEMU; scheduler bfq)
import test from 'ava'
import type { Guest } from '../support/guest.ts'
import { bootVoGuest } from './vo-guest.ts'

const operations = 150
const measured_s = 30

interface Block { readonly device: string, readonly inserted?: { readonly ro: boolean, readonly drv: string } }

/** The one disk that the guest writes to becomes a slow one. */
async function slowDown (g: Guest): Promise<void> {
  const blocks = await g.machine.qmp.execute('query-block') as Block[]
  const disk = blocks.find(({ inserted }) => inserted !== undefined && !inserted.ro && inserted.drv === 'qcow2')
  if (disk === undefined) throw new Error(`QEMU has no disk that can be written: ${JSON.stringify(blocks)}`)
  await g.machine.qmp.execute('block_set_io_throttle', { device: disk.device, bps: 0, bps_rd: 0, bps_wr: 0, iops: operations, iops_rd: 0, iops_wr: 0 })
}

test.serial('VOs that want the same disk get it by their weights under bfq', async (t) => {
  t.timeout(900_000)
  const { g, limit, job } = await bootVoGuest(t)
  const disk = (await g.must("lsblk -ndo NAME,RO -e 7 | awk '$2 == 0 {print $1}' | tail -n 1")).trim()
  const number = (await g.must(`cat /sys/block/${disk}/dev`)).trim()
  // As an owner sets it up for his disk (docs/decisions/0015-isolation.md): what bfq calls low latency favours whoever came last, and without strict guarantees
  // all requests are in the disk's own queue, which knows no weights, before there is a choice.
  await g.must(`modprobe bfq && cd /sys/block/${disk}/queue && echo bfq > scheduler && echo 0 > iosched/low_latency && echo 1 > iosched/strict_guarantees`)
  await g.must('for name in a b; do dd if=/dev/urandom of=/var/tmp/of-$name bs=1M count=48 conv=fsync 2> /dev/null; chmod 644 /var/tmp/of-$name; done')
  await slowDown(g)

  const reads = async (slice: string): Promise<number> => Number(/rios=(\d+)/.exec(await g.must(`grep '^${number} ' ${slice}/io.stat || true`))?.[1] ?? 0)
  /** What of all reads VO b had while both read. */
  const shareOfB = async (a_weight: string, b_weight: string): Promise<number> => {
    const [a, b] = [await limit('a', { 'io.weight': a_weight }), await limit('b', { 'io.weight': b_weight })]
    t.is(await g.must(`cat ${a}/io.bfq.weight ${b}/io.bfq.weight`), `default ${a_weight}\ndefault ${b_weight}\n`)
    // Past the page cache, so that each read waits for the disk; four at a time, so that there is always one waiting.
    const reader = (vo: string): string => `while :; do dd if=/var/tmp/of-${vo} of=/dev/null bs=16K iflag=direct 2> /dev/null || exit 1; done`
    const readers = ['a', 'b'].map((vo) => job(vo, `for n in 1 2 3 4; do { ${reader(vo)}; } & done; wait`, 600_000).catch(() => {}))
    const begun = [await reads(a), await reads(b)] as const
    await g.until(`[ "$(awk '$1 == "${number}"' ${a}/io.stat | grep -oE 'rios=[0-9]+' | cut -d= -f2)" -gt ${begun[0] + 20} ] && [ "$(awk '$1 == "${number}"' ${b}/io.stat | grep -oE 'rios=[0-9]+' | cut -d= -f2)" -gt ${begun[1] + 20} ]`, 180_000)
    const before = [await reads(a), await reads(b)] as const
    await g.must(`sleep ${measured_s}`)
    const after = [await reads(a), await reads(b)] as const
    await g.must('pkill -9 -x dd -U 1879179265,1879244801; pkill -9 -x sh -U 1879179265,1879244801; true')
    await Promise.all(readers)
    const [of_a, of_b] = [after[0] - before[0], after[1] - before[1]]
    t.log(`weights ${a_weight} and ${b_weight}: ${of_a} and ${of_b} reads in ${measured_s} s`)
    t.true(of_a > 0 && of_b > 0, 'neither is left out')
    return of_b / (of_a + of_b)
  }

  const equal = await shareOfB('100', '100')
  const more = await shareOfB('10', '100')
  // 0.5 and 0.91 by the weights; an emulated processor is late at times, and bfq then gives the disk to who is there.
  t.true(equal > 0.35 && equal < 0.65, `equal weights: ${equal.toFixed(2)}`)
  t.true(more > 0.75, `1 to 10: ${more.toFixed(2)}`)
  t.is(await g.splats(), '')
})

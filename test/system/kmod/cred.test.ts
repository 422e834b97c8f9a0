// kmod/xos_cred in a guest with checks in all slabs: what its header promises, and that nothing of a credential stays in memory.
//
//   test ── n1 (kernel 6.12 with checks in slabs, xos_cred)
import test from 'ava'
import { createReadStream, rmSync } from 'node:fs'
import { join } from 'node:path'
import { guestStore } from '../../../src/setup/guest/layers.mjs'
import { kernelSelftest } from '../../../src/setup/build/kmod.mjs'
import { bootGuest, checkedKernel, type Guest } from '../support/guest.ts'

async function withSelftest (g: Guest): Promise<void> {
  await g.put(await kernelSelftest(g.machine.layers, 'xos_cred', 'test'), '/run/xos_cred_test', '0755')
}

test.serial('credentials are kept, shown, renewed, revoked and lost as the header says, and garbage is refused', async (t) => {
  const g = await bootGuest(t, { ...checkedKernel, modules: ['xos_cred'] })
  await withSelftest(g)
  const { status, stdout, stderr } = await g.run('/run/xos_cred_test', { timeout_ms: 240_000 })
  t.is(status, 0, stdout + stderr)
  for (const line of stdout.trim().split('\n')) t.log(line)
  t.is(await g.splats(), '')
  await g.must('rmmod xos_cred')
  t.is(await g.splats(), '')
})

test.serial('a credential in clear is once in memory while it is held, and nowhere after its revocation', async (t) => {
  const g = await bootGuest(t, { modules: ['xos_cred'] })
  await withSelftest(g)
  const holder = g.start('exec /run/xos_cred_test hold', { timeout_ms: 240_000 })
  const hidden = (await holder.seen(/held ([0-9a-f]{128})\n/))[1] ?? ''
  const text = Buffer.from(Buffer.from(hidden, 'hex').map((byte) => byte ^ 0x15))
  t.is(await copiesInMemory(g, text), 1)
  holder.write('revoke\n')
  await holder.seen(/revoked 1\n/)
  t.is(await copiesInMemory(g, text), 0)
  holder.write('end\n')
  t.is((await holder.finished).status, 0)
})

test.serial('an unload while credentials are live wipes them and leaves the keys dead', async (t) => {
  const g = await bootGuest(t, { modules: ['xos_cred'] })
  await withSelftest(g)
  const holder = g.start('exec /run/xos_cred_test hold')
  const hidden = (await holder.seen(/held ([0-9a-f]{128})\n/))[1] ?? ''
  await g.must('rmmod xos_cred')
  t.is(await copiesInMemory(g, Buffer.from(Buffer.from(hidden, 'hex').map((byte) => byte ^ 0x15))), 0)
  holder.write('end\n')
  t.is((await holder.finished).status, 0)
  await g.load('xos_cred')
  t.is(await g.splats(), '')
})

/** How often `text` is in the memory of the machine, all of it, as its hardware sees it. */
async function copiesInMemory (g: Guest, text: Buffer): Promise<number> {
  const path = join(guestStore, `memory-${process.pid}`)
  try {
    await g.machine.qmp.execute('stop')
    // 768 MiB on q35 lie in one piece from 0.
    await g.machine.qmp.execute('pmemsave', { val: 0, size: 768 << 20, filename: path })
    await g.machine.qmp.execute('cont')
    let copies = 0
    let rest: Buffer = Buffer.alloc(0)
    for await (const chunk of createReadStream(path, { highWaterMark: 4 << 20 })) {
      const here = Buffer.concat([rest, chunk as Buffer])
      for (let at = here.indexOf(text); at >= 0; at = here.indexOf(text, at + 1)) copies++
      rest = here.subarray(here.length - text.length + 1)
    }
    return copies
  } finally {
    rmSync(path, { force: true })
  }
}

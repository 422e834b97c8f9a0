// kmod/xos_exec in a guest with checks in all slabs: what its header promises, who may set tables, and unloading under load.
//
//   test ── n1 (kernel 6.12, with checks in slabs, xos_exec)
import test, { type ExecutionContext } from 'ava'
import { kernelModule, kernelSelftest } from '../../../src/setup/build/kmod.mjs'
import { bootGuest, checkedKernel, type Guest } from '../support/guest.ts'

const rounds = 1000

async function withSelftests (g: Guest): Promise<void> {
  for (const name of ['test', 'netlink', 'load', 'program', 'interpreter']) await g.put(await kernelSelftest(g.machine.layers, 'xos_exec', name), `/run/selftest/${name}`, '0755')
}

async function passes (t: ExecutionContext, g: Guest, line: string): Promise<void> {
  const { status, stdout, stderr } = await g.run(line, { timeout_ms: 1_400_000 })
  t.is(status, 0, stdout + stderr)
  t.log(stdout.trim().split('\n').at(-1))
  t.is(await g.splats(), '')
}

test.serial('programs of a session are handed over by table, attribute, mark and caller, and nothing else is touched', async (t) => {
  const g = await bootGuest(t, { ...checkedKernel, modules: ['xos_exec'] })
  await withSelftests(g)
  await passes(t, g, '/run/selftest/test /run/selftest')
})

test.serial('tables are set by root of the node only, and garbage is refused', async (t) => {
  const g = await bootGuest(t, { ...checkedKernel, modules: ['xos_exec'] })
  await withSelftests(g)
  await passes(t, g, '/run/selftest/netlink /run/selftest')
})

test.serial(`it is loaded and unloaded ${rounds} times while programs are executed, and leaves nothing behind`, async (t) => {
  t.timeout(1_500_000)
  const g = await bootGuest(t, { plain: true })
  await withSelftests(g)
  await g.put(await kernelModule(g.machine.layers, 'xos_exec'), '/run/selftest/xos_exec.ko')
  await passes(t, g, `/run/selftest/load /run/selftest/xos_exec.ko ${rounds} /run/selftest`)
})

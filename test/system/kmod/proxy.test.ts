// kmod/xos_proxy in a guest with checks in all slabs: what its header promises, what ps shows, and unloading under load.
//
//   test ── n1 (kernel 6.12, with checks in slabs, xos_proxy)
import test, { type ExecutionContext } from 'ava'
import { kernelModule, kernelSelftest } from '../../../src/setup/build/kmod.mjs'
import { bootGuest, checkedKernel, type Guest } from '../support/guest.ts'

const rounds = 1000

async function passes (t: ExecutionContext, g: Guest, line: string): Promise<void> {
  const { status, stdout, stderr } = await g.run(line, { timeout_ms: 1_400_000 })
  t.is(status, 0, stdout + stderr)
  t.log(stdout.trim().split('\n').at(-1))
  t.is(await g.splats(), '')
}

test.serial('a proxy shows what its job used, its signals are told, and only root does either', async (t) => {
  const g = await bootGuest(t, { ...checkedKernel, modules: ['xos_proxy'] })
  await g.put(await kernelSelftest(g.machine.layers, 'xos_proxy', 'test'), '/run/selftest/test', '0755')
  await passes(t, g, '/run/selftest/test')
})

test.serial(`it is loaded and unloaded ${rounds} times while processes stop and die, and leaves nothing behind`, async (t) => {
  t.timeout(1_500_000)
  const g = await bootGuest(t, { plain: true })
  await g.put(await kernelSelftest(g.machine.layers, 'xos_proxy', 'load'), '/run/selftest/load', '0755')
  await g.put(await kernelModule(g.machine.layers, 'xos_proxy'), '/run/selftest/xos_proxy.ko')
  await passes(t, g, `/run/selftest/load /run/selftest/xos_proxy.ko ${rounds}`)
})

// kmod/xos_proxy in a guest with checks in all slabs: what its header promises, what ps shows, and unloading under load.
//
//   test ── n1 (kernel 6.12, with checks in slabs, xos_proxy)
import test from 'ava'
import { bootGuest, checkedKernel } from '../support/guest.ts'
import { comesAndGoes, passes, rounds, withSelftests } from './selftest.ts'

test.serial('a proxy shows what its job used, its signals are told, and only root does either', async (t) => {
  const g = await bootGuest(t, { ...checkedKernel, modules: ['xos_proxy'] })
  await withSelftests(g, 'xos_proxy', ['test'])
  await passes(t, g, '/run/selftest/test')
})

test.serial(`it is loaded and unloaded ${rounds} times while processes stop and die, and leaves nothing behind`, async (t) => {
  await comesAndGoes(t, 'xos_proxy')
})

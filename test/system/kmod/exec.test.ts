// kmod/xos_exec in a guest with checks in all slabs: what its header promises, who may set tables, and unloading under load.
//
//   test ── n1 (kernel 6.12, with checks in slabs, xos_exec)
import test from 'ava'
import { bootGuest, checkedKernel } from '../support/guest.ts'
import { comesAndGoes, passes, rounds, withSelftests } from './selftest.ts'

const used = ['program', 'interpreter']

test.serial('programs of a session are handed over by table, attribute, mark and caller, and nothing else is touched', async (t) => {
  const g = await bootGuest(t, { ...checkedKernel, modules: ['xos_exec'] })
  await withSelftests(g, 'xos_exec', ['test', ...used])
  await passes(t, g, '/run/selftest/test /run/selftest')
})

test.serial('tables are set by root of the node only, and garbage is refused', async (t) => {
  const g = await bootGuest(t, { ...checkedKernel, modules: ['xos_exec'] })
  await withSelftests(g, 'xos_exec', ['netlink', ...used])
  await passes(t, g, '/run/selftest/netlink /run/selftest')
})

test.serial(`it is loaded and unloaded ${rounds} times while programs are executed, and leaves nothing behind`, async (t) => {
  await comesAndGoes(t, 'xos_exec', used)
})

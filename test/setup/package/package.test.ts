import test from 'ava'
import { planPackages } from '../../../src/setup/package/package.mjs'

test('every file of a node is in one package, or said to be in none', (t) => {
  const plans = planPackages((text) => text)
  const owners = (path: string): readonly string[] => plans.filter(({ files }) => files.has(path)).map(({ pack }) => pack.name)
  for (const [path, owner] of [['usr/lib/xos/bin/xos-checkpoint', 'xtreemos-common'], ['usr/lib/xos/bin/xos-osd', 'xtreemos-node'], ['usr/lib/x86_64-linux-gnu/security/pam_xos.so', 'xtreemos-pam']] as const) {
    t.deepEqual(owners(path), [owner], path)
  }
})

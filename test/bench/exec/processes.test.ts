import test from 'ava'
import { alone, parseMappings, processesOf } from './processes.ts'

const mappings = `55e0-55f0 r-xp 00000000 fd:01 77 /usr/bin/node
Size:               4096 kB
Rss:                2000 kB
Pss:                 500 kB
Anonymous:             0 kB
55f0-55f8 rw-p 00000000 fd:01 77 /usr/bin/node
Rss:                 100 kB
Pss:                 100 kB
Anonymous:            60 kB
7000-7010 rw-p 00000000 00:00 0
Rss:                 300 kB
Pss:                 300 kB
Anonymous:           300 kB
7010-7020 rw-p 00000000 00:00 0    [stack]
Rss:                  40 kB
Pss:                  40 kB
VmFlags: rd wr mr
`

test('memory of its own and pages of files are told apart', (t) => {
  t.deepEqual(parseMappings(mappings), { pss_mib: 940 / 1024, own_kib: 400, files_kib: new Map([['fd:01:77', 2_040]]) })
})

test('alone, the pages of a file that two processes map count once', (t) => {
  const one = { pid: 1, name: 'a', ...parseMappings(mappings) }
  t.is(alone([one, { ...one, pid: 2 }]), (2_040 + 2 * 400) / 1024)
})

test('the processes of this pid namespace include this one, with memory', (t) => {
  const self = processesOf(process.pid).find(({ pid }) => pid === process.pid)
  t.true(self !== undefined && self.pss_mib > 1 && self.own_kib > 1_024)
})

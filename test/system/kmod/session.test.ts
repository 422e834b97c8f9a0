// A login where xos_exec and xos_proxy are loaded: no namespaces of the session's own, a typed name goes to a cell, and its proxy shows and tells all.
//
//   n1 (founds VO demo; alice at ttyS0; runs her jobs in cells)
import test from 'ava'
import { consoleLogin, foundGrid } from '../support/grid.ts'
import type { Guest } from '../support/guest.ts'

const worker = `import sys, time
kept = bytearray(100 << 20)
end = time.process_time() + 3
while time.process_time() < end: pass
print('worked', flush=True)
n = 0
while True:
    n += 1
    with open('count.txt', 'w') as file: file.write(str(n))
    time.sleep(0.2)
`

test.serial('a member logs in beside the modules; a typed name goes to a cell, and the proxy has its times, memory and signals', async (t) => {
  t.timeout(1_500_000)
  const grid = await foundGrid(t, ['n1'], { modules: ['xos_exec', 'xos_proxy'] })
  const [n1] = grid.guests as [Guest]
  const alice = await consoleLogin(n1, grid.user, grid.password)
  const here = (await n1.must('readlink /proc/1/ns/pid')).trim()

  t.is((await alice.run('readlink /proc/self/ns/user')).output, await n1.must('readlink /proc/1/ns/user'), 'the session needs no user namespace')
  const python = `python3 -c "import os; print(os.readlink('/proc/self/ns/pid'))"`
  t.not((await alice.run(python)).output.trim(), here, 'in a cell')
  t.is((await alice.run(`XOS_LOCAL=1 ${python}`)).output.trim(), here, 'kept here by the user')
  t.regex(await n1.must('/usr/lib/xos/bin/xos-policy show'), /demo .* sent [1-9]/)
  await n1.must("echo '/usr/bin/python3* local' > /etc/xos/policy.d/90-test.policy")
  await n1.must('sleep 6') // the relay looks every five seconds
  t.is((await alice.run(python)).output.trim(), here, 'kept here by the policy, in the kernel')
  await n1.must('rm /etc/xos/policy.d/90-test.policy; sleep 6')

  await n1.put(Buffer.from(worker), '/run/work.py')
  await alice.run('cp /run/work.py .')
  await alice.run('python3 work.py > out.txt & sleep 1; until grep -q worked out.txt; do sleep 1; done; sleep 3')
  const shown = (await alice.run('ps -o rss=,times=,comm= -p $!')).output.trim().split(/\s+/)
  t.true(Number(shown[0]) > 90_000 && Number(shown[1]) >= 2, `ps shows ${shown.join(' ')}`)
  const counted = async (): Promise<number> => Number((await alice.run('cat count.txt')).output)
  await alice.run('kill -STOP $!; sleep 2')
  const stopped = await counted()
  await alice.run('sleep 2')
  t.is(await counted(), stopped, 'SIGSTOP of the proxy stops the job')
  await alice.run('kill -CONT $!; sleep 2')
  t.true(await counted() > stopped, 'SIGCONT lets it go on')
  await alice.run('kill -KILL $!; wait $!')
  await n1.until("! ps -u 1879113729 -o pid=,ppid=,stat=,args= | grep '[w]ork.py'")

  const times = await alice.run(`TIMEFORMAT='%U %S'; time python3 -c "import time
while time.process_time() < 2: pass"`)
  const [user = 0, system = 0] = times.output.trim().split(/\s+/).slice(-2).map(Number)
  t.true(user + system >= 1.9, `time says ${times.output}`)
  await alice.exit()
  await n1.until('! /usr/lib/xos/bin/xos-policy show | grep -q demo')
  t.is(await n1.splats(), '')
})

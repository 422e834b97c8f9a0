// The harness itself: what a test may rely on in its guests.
//
//   test ── virtio-serial, serial console ── n1, n2, n3 (Debian 13, systemd, kernel 6.12)     n1 ─┐
//                                                                                         n2 ─┼─ switch in this process
//                                                                                         n3 ─┘
import test from 'ava'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { bootGuest, bootGuests, guestNetwork, type Guest } from './support/guest.ts'

test.serial('a guest is a Debian with systemd that waits at its login prompt', async (t) => {
  const g = await bootGuest(t, { name: 'n7' })
  t.is((await g.run('cat /proc/1/comm; hostname; systemctl is-system-running')).stdout, 'systemd\nn7\nrunning\n')
  t.deepEqual(await g.run('echo out; echo aside >&2; exit 7'), { status: 7, stdout: 'out\n', stderr: 'aside\n' })
  t.is((await g.run('kill -9 $$')).status, 137)
  g.console.send('')
  await g.console.expect(/n7 login: $/)
  const seconds = Number((await g.must('date +%s')).trim())
  t.true(Math.abs(seconds - Date.now() / 1000) < 60, 'a restored guest knows the time')
  t.is(await g.splats(), '')
})

test.serial('bytes come and go whole, whatever they are, and commands run side by side', async (t) => {
  const g = await bootGuest(t)
  const bytes = Buffer.from(Uint8Array.from({ length: 3 << 20 }, (_, n) => (n * 2654435761) >>> 13))
  await g.put(bytes, '/run/some/bytes', '0600')
  t.true(bytes.equals(await g.get('/run/some/bytes')))
  const cat = g.start('cat')
  t.is((await g.run('stat -c "%a %s" /run/some/bytes')).stdout, `600 ${bytes.length}\n`)
  cat.write('one\n')
  await cat.seen(/one\n/)
  cat.end()
  t.is((await cat.finished).status, 0)
  await t.throwsAsync(g.run('echo begun; sleep 100', { timeout_ms: 1000 }), { message: /did not end within 1 s; it said:\nbegun/ })
  t.is((await g.run('sleep 1000 & echo left')).stdout, 'left\n', 'what a command leaves behind does not hold it up')
})

test.serial('guests of one network reach each other by name, differ in what must differ, and a cut wire is cut', async (t) => {
  const network = guestNetwork(t)
  const guests = await bootGuests(t, ['n1', 'n2', 'n3'], { network })
  const [n1, , n3] = guests as [Guest, Guest, Guest]
  t.is((await n1.run('ping -c 1 -W 10 n2 && ping -c 1 -W 10 n3 > /dev/null && echo both')).stdout.split('\n').at(-2), 'both')
  const facts = await Promise.all(guests.map((g) => g.must('cat /etc/machine-id /sys/class/net/eth0/address; head -c 16 /dev/urandom | od -An -tx1')))
  for (const line of [0, 1, 2]) t.is(new Set(facts.map((text) => text.split('\n')[line])).size, 3, `line ${line} of ${facts.join('\n')}`)
  network.wires.cut('n3')
  t.is((await n1.run('ping -c 1 -W 2 n3')).status, 1)
  network.wires.mend('n3')
  t.is((await n3.run('ping -c 3 -W 10 n1')).status, 0)
})

test.serial('a guest that is killed is gone, and one whose test process is killed goes with it', async (t) => {
  const g = await bootGuest(t)
  const running = g.start('sleep 1000')
  t.is(guestsOf(process.pid).length, 1)
  await g.kill()
  await t.throwsAsync(running.finished, { message: /the guest was ended/ })
  await t.throwsAsync(g.run('true'), { message: /the guest was ended/ })
  t.is(guestsOf(process.pid).length, 0)

  const script = `import { bootGuest } from ${JSON.stringify(new URL('support/guest.ts', import.meta.url).href)}
await bootGuest({ teardown () {}, log () {} })
console.log('there')`
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  await once(child.stdout, 'data')
  const pid = child.pid ?? 0
  t.is(guestsOf(pid).length, 1)
  child.kill('SIGKILL')
  await once(child, 'close')
  for (let tries = 0; guestsOf(pid).length > 0 && tries < 100; tries++) await sleep(100)
  t.deepEqual(guestsOf(pid), [])
  await g.kill() // twice does no harm
  await bootGuest(t)
  t.false(readdirSync('/run/xos-guest').some((name) => name.startsWith(`${pid}-`)), 'the next run removes its folder')
})

/** Pids of the QEMUs of a test process: their sockets are in folders with its pid. */
function guestsOf (pid: number): number[] {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name) && existsSync(`/proc/${name}/cmdline`)).map(Number).filter((each) => {
    try {
      const command = readFileSync(`/proc/${each}/cmdline`, 'utf8')
      return command.startsWith('qemu-system') && command.includes(`/run/xos-guest/${pid}-`)
    } catch {
      return false // it ended meanwhile
    }
  })
}

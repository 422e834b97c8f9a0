// The harness itself: what a test may rely on in its guest.
//
//   test ── virtio-serial ── n1 (Debian 13, systemd, kernel 6.12)      n1 ──┐
//        ── serial console ──                                         n2 ──┴── switch in this process
import test from 'ava'
import { bootGuest } from './support/guest.ts'

test.serial('a guest is a Debian with systemd that waits at its login prompt', async (t) => {
  const g = await bootGuest(t, { name: 'n7' })
  t.is((await g.run('cat /proc/1/comm; hostname; systemctl is-system-running')).stdout, 'systemd\nn7\nrunning\n')
  t.deepEqual(await g.run('echo out; echo aside >&2; exit 7'), { status: 7, stdout: 'out\n', stderr: 'aside\n' })
  g.console.send('')
  await g.console.expect(/login: $/)
  t.is(await g.splats(), '')
})

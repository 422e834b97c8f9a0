// xos_cred and xos_exec together: once a credential is revoked, or has expired and is collected, its session is none to the kernel.
//
//   test ── n1 (kernel 6.12, xos_cred, xos_exec; revoked by the addon that xosd uses)
import test from 'ava'
import { credentialPayload } from '../../../src/vo/key-payload.ts'
import { kernelSelftest } from '../../../src/setup/build/kmod.mjs'
import { testCredential, testVo } from '../../vo/authority.ts'
import { bootGuest, type Guest } from '../support/guest.ts'

interface Session {
  /** Starts a program by name in it; whether it was handed over. */
  handsOver(): Promise<boolean>
  end(): Promise<void>
}

/** As pam_xos makes it, with a credential of the real form that expires after `life_ms`. */
async function openSession (g: Guest, life_ms: number): Promise<Session & { readonly uid: number }> {
  const now_ms = Number((await g.must('date +%s%3N')).trim())
  const { pem, claims: { uid } } = await testCredential(await testVo('demo', 1, now_ms), { now_ms, life_ms })
  await g.put(credentialPayload(pem, now_ms), '/run/payload', '0600')
  const inside = `keyctl padd xos_cred xos:credential @s < /run/payload > /dev/null && keyctl add user xos:session secret @s > /dev/null && exec setpriv --reuid=${uid} --regid=${uid} --clear-groups bash`
  const shell = g.start(`cd / && exec keyctl session - bash -c '${inside}'`, { timeout_ms: 300_000 })
  const sent = async (): Promise<number> => Number(/sent (\d+)/.exec(await g.must('/usr/lib/xos/bin/xos-policy show'))?.[1])
  let runs = 0
  return {
    uid,
    async handsOver () {
      const before = await sent()
      shell.write(`/run/selftest/program > /dev/null; echo "<$?"":${++runs}>"\n`)
      await shell.seen(new RegExp(`<\\d+:${runs}>`))
      return await sent() > before
    },
    async end () {
      shell.end()
      await shell.finished
    },
  }
}

test.serial('a revoked or collected credential ends the handing over of programs at once', async (t) => {
  const g = await bootGuest(t, { modules: ['xos_cred', 'xos_exec'] })
  await g.put(await kernelSelftest(g.machine.layers, 'xos_exec', 'program'), '/run/selftest/program', '0755')
  await g.put(Buffer.from('default grid\n'), '/run/all.policy')
  await g.must('/usr/lib/xos/bin/xos-policy set 1 demo /run/all.policy')
  const revoke = async (uid: number): Promise<string> => await g.must(`/usr/lib/xos/bin/node -e "console.log(require('/usr/lib/xos/lib/peer.node').revokeCredentials([${uid}], []))"`)

  const revoked = await openSession(g, 3_600_000)
  t.true(await revoked.handsOver())
  t.is(await revoke(revoked.uid + 1), '0\n', 'another user is not concerned')
  t.true(await revoked.handsOver())
  t.is(await revoke(revoked.uid), '1\n')
  t.false(await revoked.handsOver())
  t.is(await revoke(revoked.uid), '0\n')
  await revoked.end()

  const expiring = await openSession(g, 20_000)
  t.true(await expiring.handsOver())
  await g.until("! grep -q 'xos:credential' /proc/keys")
  t.false(await expiring.handsOver(), 'the key is no more, and the session none')
  await expiring.end()
  await g.must('rmmod xos_exec xos_cred')
  t.is(await g.run("/usr/lib/xos/bin/node -e \"console.log(require('/usr/lib/xos/lib/peer.node').revokeCredentials([1], []))\"").then(({ stdout }) => stdout), 'null\n')
  t.is(await g.splats(), '')
})

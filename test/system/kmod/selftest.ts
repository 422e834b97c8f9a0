// Programs of kmod/*/selftest in a guest: those that print 'ok' or what was not, and those that load and unload their module.
import type { ExecutionContext } from 'ava'
import { kernelModule, kernelSelftest } from '../../../src/setup/build/kmod.mjs'
import { bootGuest, type Guest } from '../support/guest.ts'

const most_ms = 3_000_000

/**
 * How often modules come and go. A thousand times takes a quarter of an hour and more for each on an emulated machine: that is done by hand
 * (XOS_ROUNDS=1000), a run of all tests does fewer and says so.
 */
export const rounds = Number(process.env['XOS_ROUNDS'] ?? 200)
export const whole = 1000

/** Puts self-test programs of a module into /run/selftest. */
export async function withSelftests (g: Guest, module: string, programs: readonly string[]): Promise<void> {
  for (const name of programs) await g.put(await kernelSelftest(g.machine.layers, module, name), `/run/selftest/${name}`, '0755')
}

/** The line ends with 0, and the kernel has nothing to complain of. */
export async function passes (t: ExecutionContext, g: Guest, line: string): Promise<void> {
  const { status, stdout, stderr } = await g.run(line, { timeout_ms: most_ms })
  t.is(status, 0, stdout + stderr)
  t.log(stdout.trim().split('\n').at(-1) ?? '')
  t.is(await g.splats(), '')
}

/** Runs the module's `load`, which loads and unloads it `rounds` times under load; `others`: further programs that it uses, and are beside it. */
export async function comesAndGoes (t: ExecutionContext, module: string, others: readonly string[] = []): Promise<void> {
  t.timeout(most_ms + 120_000)
  if (rounds < whole) t.log(`${rounds} rounds; XOS_ROUNDS=${whole} does as many`)
  const g = await bootGuest(t, { plain: true })
  await withSelftests(g, module, ['load', ...others])
  await g.put(await kernelModule(g.machine.layers, module), `/run/selftest/${module}.ko`)
  await passes(t, g, `/run/selftest/load /run/selftest/${module}.ko ${rounds}${others.length > 0 ? ' /run/selftest' : ''}`)
}

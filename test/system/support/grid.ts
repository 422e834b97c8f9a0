// A VO on guests: the first founds it, the others join, each with one command as an administrator would.
import type { ExecutionContext } from 'ava'
import { bootGuests, type Guest, type GuestOptions } from './guest.ts'

export interface GuestGrid {
  readonly guests: readonly Guest[]
  readonly vo: string
  /** The first member, and an admin of the VO. */
  readonly user: string
  readonly password: string
}

const set_up_ms = 400_000
const together_ms = 180_000
const login_tries = 8

export async function foundGrid (t: ExecutionContext, names: readonly string[], options: Omit<GuestOptions, 'name' | 'network'> = {}): Promise<GuestGrid> {
  const password = 'correct-horse-1'
  const guests = await bootGuests(t, names, options)
  const [first, ...others] = guests
  if (first === undefined) throw new Error('a grid needs a guest')
  await first.must(`xnode found demo --admin alice --password-stdin --address ${first.address} --timeout 380`, { input: `${password}\n`, timeout_ms: set_up_ms })
  for (const guest of others) {
    const token = await first.must(`xvo node invite demo ${guest.name}`, { timeout_ms: set_up_ms })
    await guest.must(`xnode join - --address ${guest.address} --timeout 380`, { input: token, timeout_ms: set_up_ms })
  }
  await first.until(`[ "$(xnode list --quiet | wc -l)" = ${names.length} ]`, together_ms)
  return { guests, vo: 'demo', user: 'alice@demo', password }
}

/** Logs in on the guest's serial console, as a person at a terminal does, who tries again when told to. Returns a shell. */
export async function consoleLogin (g: Guest, user: string, password: string): Promise<ConsoleShell> {
  for (let tries = 1; ; tries++) {
    // The prompt of the first try is behind what the console shows by now; later ones come by themselves.
    if (tries === 1) g.console.send('')
    await g.console.expect(/login: $/, together_ms)
    g.console.send(user)
    await g.console.expect(/[Pp]assword: $/, together_ms)
    g.console.send(password)
    const [shown] = await g.console.expect(/[$] (\x1b\[[^a-zA-Z]*[a-zA-Z])*$|try again later[^]*Login incorrect|Login incorrect|timed out/, together_ms)
    if (shown.startsWith('$ ')) break
    // An emulated machine whose cores are busy elsewhere answers later than a login waits.
    if (tries === login_tries) throw new Error(`'${user}' is not let in on the console of '${g.name}' (${tries} tries): ${shown}`)
  }
  let last = 0
  return {
    async run (line, timeout_ms = together_ms) {
      // What is typed is shown too: the mark is put together only where it is printed.
      const number = ++last
      g.console.send(`${line}; echo "<$?"":${number}>"`)
      await g.console.expect(/\n/)
      const [text = '', before = '', status = ''] = await g.console.expect(new RegExp(`([^]*)<(\\d+):${number}>`), timeout_ms)
      void text
      return { output: before.replaceAll('\r', '').replace(/^[^]*:\d+>"\n/, '').replaceAll(/\x1b\[[^a-zA-Z]*[a-zA-Z]/g, ''), status: Number(status) }
    },
    async exit () {
      g.console.send('exit')
      await g.console.expect(/login: $/, together_ms)
    },
  }
}

export interface ConsoleShell {
  /** Types a line, waits until it is done, and returns what it showed. */
  run(line: string, timeout_ms?: number): Promise<{ readonly output: string, readonly status: number }>
  /** Logs out, and waits for the next prompt for a login. */
  exit(): Promise<void>
}

// xos-update: the versions of the base system of a disk image. See image/update/README.md.
import { spawn } from 'node:child_process'
import { createPublicKey } from 'node:crypto'
import { open, readFile, writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { XosError, asXosError } from '../core/errors.ts'
import { openBundle } from './bundle.ts'
import { confirm, install } from './install.ts'
import { type Machine, findMachine, withEsp } from './machine.ts'
import { rollBack } from './rollback.ts'
import { readStatus } from './status.ts'
import { setLeft } from './versions.ts'

const KEY = '/usr/lib/xos/update.pub'
/** Seen by the initrd's watch over a version on trial. */
const CONFIRMED = '/run/xos-confirmed'
const usage = `usage: xos-update [--json]                     the versions of this system
       xos-update [--allow-older] [--reboot] BUNDLE  install an update; it is started at the next boot, on trial
       xos-update --rollback [--reboot]              start the version before at the next boot
       xos-update --confirm                          the running version is good (done at every boot that succeeds)

  --key FILE  the public key that the bundle must be signed by ('${KEY}')`

async function main(): Promise<number> {
  const { values, positionals } = parse()
  if (values.help === true) {
    process.stdout.write(`${usage}\n`)
    return 0
  }
  if (process.getuid?.() !== 0) throw new XosError('XOS_UPDATE_ROOT', 'cannot update this system as an ordinary user: start xos-update as root (sudo xos-update)')
  const controller = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => { controller.abort(new XosError('XOS_ABORTED', `interrupted by ${name}; the version that runs stays the one that is started`)) })
  const machine = await findMachine()
  const say = (text: string): void => { process.stderr.write(`${text}\n`) }
  if (values.confirm === true) await confirmRunning(machine)
  else if (values.rollback === true) say(`version ${await withEsp(machine, (esp) => rollBack(esp, machine))} is started at the next boot`)
  else if (positionals[0] !== undefined) await installFrom(positionals[0], machine, values, controller.signal, say)
  else await printStatus(machine, values.json === true)
  if (values.reboot === true) spawn('systemctl', ['reboot'], { stdio: 'ignore', detached: true }).unref()
  return 0
}

async function installFrom(path: string, machine: Machine, values: { key?: string, 'allow-older'?: boolean }, signal: AbortSignal, say: (text: string) => void): Promise<void> {
  const key = createPublicKey(await readFile(values.key ?? KEY))
  const file = await open(path).catch((error: unknown) => { throw new XosError('XOS_UPDATE_BUNDLE', `cannot open the update '${path}': ${asXosError(error).message}`, { path }, { cause: error }) })
  try {
    const bundle = await openBundle(file, path, key)
    await withEsp(machine, (esp) => install(bundle, machine, { path, esp, allowOlder: values['allow-older'] === true, signal, say }))
    say(`version ${bundle.version} is started at the next boot, on trial; if it does not come up, ${machine.version} is started again`)
  } finally {
    await file.close()
  }
}

async function confirmRunning(machine: Machine): Promise<void> {
  await withEsp(machine, (esp) => confirm(esp, machine.version, setLeft))
  await writeFile(CONFIRMED, `${machine.version}\n`)
}

async function printStatus(machine: Machine, json: boolean): Promise<void> {
  const status = await withEsp(machine, (esp) => readStatus(esp, machine.version))
  if (json) process.stdout.write(`${JSON.stringify({ flavour: machine.flavour, versions: status }, null, 2)}\n`)
  else for (const each of status) process.stdout.write(`${each.running ? '*' : ' '} ${each.version.padEnd(28)} ${(each.slot ?? '-').padEnd(6)} ${each.state}\n`)
}

function parse(): ReturnType<typeof parseOptions> {
  try {
    const parsed = parseOptions()
    const given = [parsed.values.rollback, parsed.values.confirm, parsed.positionals.length > 0].filter(Boolean).length
    if (given > 1 || parsed.positionals.length > 1) throw new TypeError('one thing at a time')
    return parsed
  } catch (error) {
    throw new XosError('XOS_USAGE', `${error instanceof Error ? error.message : String(error)}\n${usage}`)
  }
}

function parseOptions() {
  return parseArgs({ allowPositionals: true, options: {
    help: { type: 'boolean', short: 'h' }, json: { type: 'boolean' }, rollback: { type: 'boolean' }, confirm: { type: 'boolean' },
    'allow-older': { type: 'boolean' }, reboot: { type: 'boolean' }, key: { type: 'string' },
  } })
}

try {
  process.exitCode = await main()
} catch (error) {
  const told = asXosError(error)
  process.stderr.write(`xos-update: ${told.message}\n`)
  process.exitCode = told.code === 'XOS_USAGE' ? 2 : 1
}

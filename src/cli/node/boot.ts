import { appendFile, readFile, readdir } from 'node:fs/promises';
import { XosError } from '../../core/errors.ts';
import type { Call } from '../lib/command.ts';
import { makePassword } from '../lib/password.ts';
import { systemClock } from '../../platform/clock.ts';
import { ownAddress } from './address.ts';
import { foundGrid } from './found.ts';
import { joinGrid } from './join.ts';
import type { Machine } from './machine.ts';

/** What a machine is told at boot: `xos.NAME=VALUE` words of the kernel command line, and systemd's credentials of the same names. */
export type BootWords = ReadonlyMap<string, string>;

const names = ['join', 'found', 'admin', 'number', 'node', 'address', 'roles'] as const;
/** Never on the kernel command line, which every user reads. */
const secret = 'admin_password';
const boot_ms = 180_000;
const network_ms = 60_000;
const network_poll_ms = 300;

/** Our words of a kernel command line; a quoted value loses its quotes, and the last of a name counts. Other `xos.` words are the boot's own. */
export function parseCommandLine(line: string): Map<string, string> {
  const words = new Map<string, string>();
  for (const [, name, quoted, plain] of line.matchAll(/(?:^|\s)xos\.([A-Za-z_.-]+)=(?:"([^"]*)"|(\S*))/g)) {
    if ((names as readonly string[]).includes(name!)) words.set(name!, quoted ?? plain ?? '');
  }
  return words;
}

/** The words of this boot. A credential wins over the command line: it comes from who runs the machine, not from its boot loader. */
export async function bootWords(env: Readonly<Record<string, string | undefined>>): Promise<BootWords> {
  const words = parseCommandLine(await readFile(env['XOS_CMDLINE'] ?? '/proc/cmdline', 'utf8'));
  const folder = env['CREDENTIALS_DIRECTORY'];
  for (const file of folder === undefined ? [] : await readdir(folder).catch(() => [])) {
    const name = /^xos\.(.+)$/.exec(file)?.[1];
    if (name !== undefined && ([...names, secret] as string[]).includes(name)) words.set(name, (await readFile(`${folder}/${file}`, 'utf8')).trim());
  }
  return words;
}

/** Does what the boot's words say; returns what happened, in a line, or null when there are none. */
export async function setUpAtBoot(machine: Machine, call: Call, words: BootWords): Promise<string | null> {
  const [join, vo] = [words.get('join'), words.get('found')];
  if (join !== undefined && vo !== undefined) throw new XosError('XOS_BAD_ARGUMENT', 'the machine is told both to join a VO (xos.join) and to found one (xos.found); take one away');
  if (join === undefined && vo === undefined) return null;
  if (words.get('address') === undefined) await networkUp(call);
  const common = { address: words.get('address'), roles: words.get('roles')?.split(',') ?? [], timeout_ms: boot_ms };
  if (join !== undefined) {
    const status = await joinGrid(machine, call, join, common);
    return `this machine is node ${status.node} of VO ${status.vo}`;
  }
  const number = words.get('number');
  if (number !== undefined && !/^[0-9]{1,4}$/.test(number)) throw new XosError('XOS_BAD_ARGUMENT', `xos.number=${number} is no number of a VO`);
  const given = words.get(secret);
  const password = async (): Promise<{ password: string; made: string | null }> => {
    const made = given === undefined ? makePassword() : null;
    return { password: given ?? made!, made };
  };
  const founded = await foundGrid(machine, call, vo!, { ...common, admin: words.get('admin'), node: words.get('node'), number: number === undefined ? undefined : Number(number), password });
  if (founded.admin?.password != null) await tellConsole(`\r\nPassword of ${founded.admin.user}@${vo}, shown this once: ${founded.admin.password}\r\n`);
  return `this machine is node ${founded.status.node} of VO ${vo}, and its registry`;
}

/** A machine that just booted may still be waiting for an address; without one the set-up itself says so. */
async function networkUp(call: Call): Promise<void> {
  const end_ms = systemClock.monotonic_ms() + network_ms;
  while (await ownAddress() === null && systemClock.monotonic_ms() < end_ms) await systemClock.sleep(network_poll_ms, call.signal);
}

/** The console is who sits before the machine; the journal is kept, and is no place for a password. */
async function tellConsole(text: string): Promise<void> {
  await appendFile('/dev/console', text);
}

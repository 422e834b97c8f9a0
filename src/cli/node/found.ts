import { hostname } from 'node:os';
import type { NodeStatus } from '../../api/operations/node.ts';
import { XosError, describe, hasCode } from '../../core/errors.ts';
import { parseNodeId, parseUserName, parseVoName } from '../../core/ids.ts';
import { systemDisk } from '../../platform/disk.ts';
import { ask } from '../lib/api.ts';
import type { Call } from '../lib/command.ts';
import { ownAddress } from './address.ts';
import { defaultRoles, parseRoles, readConfiguration, writeConfiguration } from './configuration.ts';
import { membership, refuseSecondVo, requireRoot } from './join.ts';
import type { Machine } from './machine.ts';
import { waitForNode } from './wait.ts';

export interface FoundOptions {
  /** First member, with the role admin; none when absent. */
  readonly admin?: string | undefined;
  readonly number?: number | undefined;
  readonly node?: string | undefined;
  readonly address?: string | undefined;
  readonly roles: readonly string[];
  readonly timeout_ms: number;
  /** Asked only when the admin is not there yet. */
  readonly password: (who: string) => Promise<{ readonly password: string; readonly made: string | null }>;
}

export interface Founded {
  readonly status: NodeStatus;
  /** null when the VO was there already. */
  readonly root_key_file: string | null;
  /** Whether the admin was added now, and the password that was made up for it. */
  readonly admin: { readonly user: string; readonly added: boolean; readonly password: string | null } | null;
}

/**
 * Makes this machine the first node of a new VO, and its admin. May be repeated, also after it was killed at any point: what is done is
 * kept, what is missing is added. Errors as joinGrid, XOS_BAD_NAME, XOS_ROLE (a light node), and what xosd says.
 */
export async function foundGrid(machine: Machine, call: Call, name: string, options: FoundOptions): Promise<Founded> {
  return await found(machine, call, name, options).catch((thrown: unknown) => {
    if (!hasCode(thrown, 'XOS_TIMEOUT')) throw thrown;
    throw new XosError('XOS_TIMEOUT', `VO '${name}' is not founded yet: ${describe(thrown)}; what is done is kept: give the same command again, with a longer --timeout on a slow machine`, {}, { cause: thrown });
  });
}

async function found(machine: Machine, call: Call, name: string, options: FoundOptions): Promise<Founded> {
  requireRoot(machine, 'found a VO');
  const vo = parseVoName(name);
  if (options.admin !== undefined) parseUserName(options.admin);
  const joined = await membership(machine);
  if (joined !== null && joined.vo !== vo) refuseSecondVo(machine, joined, `found VO '${vo}'`);
  const node = await configure(machine, options, joined?.node);
  await machine.markPrograms(call.signal);
  const mine = (status: NodeStatus): boolean => status.node === node && status.roles.includes('registry');
  const running = await ask(call, 'status', {}).then(mine, () => false);
  if (!running) await machine.startDaemon(call.signal);
  const status = await waitForNode(call, { what: `xosd to start on node '${node}'`, is: (each) => mine(each) && each.state !== 'starting', timeout_ms: options.timeout_ms });
  const made = status.vo === null ? await ask(call, 'vo-create', { vo, ...(options.number === undefined ? {} : { number: options.number }) }, { timeout_ms: options.timeout_ms }) : null;
  if (status.vo !== null && status.vo !== vo) refuseSecondVo(machine, { vo: status.vo, node }, `found VO '${vo}'`);
  const ready = await waitForNode(call, { what: `node '${node}' to be ready`, is: (each) => mine(each) && each.vo === vo && (each.state === 'ready' || each.state === 'degraded'), timeout_ms: options.timeout_ms });
  return { status: ready, root_key_file: made?.root_key_file ?? null, admin: options.admin === undefined ? null : await addAdmin(call, vo, options.admin, options) };
}

/** Writes the configuration; returns the node's id. A node that is in its VO keeps what it has. */
async function configure(machine: Machine, options: FoundOptions, known: string | undefined): Promise<string> {
  const present = await readConfiguration(systemDisk, machine);
  const node = parseNodeId(options.node ?? known ?? present?.node ?? nodeFromHost(hostname()));
  const address = options.address ?? (known === undefined ? undefined : present?.address) ?? await ownAddress();
  if (address === null) throw new XosError('XOS_ADDRESS', 'cannot found a VO: this machine has no network address yet, and the other nodes could not reach it; connect it, or give its address with --address');
  const usual = await defaultRoles(systemDisk, machine, true);
  const roles = options.roles.length > 0 ? parseRoles(options.roles) : known !== undefined && present?.roles !== undefined ? present.roles : usual;
  if (!roles.includes('registry')) throw new XosError('XOS_ROLE', "the node that founds a VO is its registry: name the role 'registry' among its roles");
  const { join: _, ...kept } = present ?? {};
  await writeConfiguration(systemDisk, machine, present, { ...kept, node, address, roles });
  return node;
}

async function addAdmin(call: Call, vo: string, admin: string, options: FoundOptions): Promise<Founded['admin']> {
  const { members } = await ask(call, 'member-list', {});
  if (members.some((member) => member.user === admin)) return { user: admin, added: false, password: null };
  const { password, made } = await options.password(`${admin}@${vo}`);
  await ask(call, 'member-add', { user: admin, roles: ['admin'], password });
  return { user: admin, added: true, password: made };
}

/** A node id from the machine's name: `Lab-PC.example.org` is lab-pc; n1 when nothing is left. */
export function nodeFromHost(host: string): string {
  const name = host.split('.')[0]!.toLowerCase().replace(/[^a-z0-9-]+/g, '-').replace(/^[^a-z]+/, '').slice(0, 63);
  return name === '' || name === 'localhost' ? 'n1' : name;
}

import type { NodeStatus } from '../../api/operations/node.ts';
import { XosError } from '../../core/errors.ts';
import { systemDisk } from '../../platform/disk.ts';
import { IdentityStore } from '../../vo/identity.ts';
import { decodeToken } from '../../vo/token.ts';
import type { Call } from '../lib/command.ts';
import { ownAddress } from './address.ts';
import { defaultRoles, parseRoles, readConfiguration, writeConfiguration } from './configuration.ts';
import type { Machine } from './machine.ts';
import { waitForNode } from './wait.ts';

export interface JoinOptions {
  readonly address?: string | undefined;
  /** Empty: those of the installed package. */
  readonly roles: readonly string[];
  readonly timeout_ms: number;
}

/**
 * Makes this machine a node of the token's VO: configuration, marks, xosd, and waits until logins work. May be repeated, also after it
 * was killed at any point; done already, it only waits.
 * Errors: XOS_DENIED, XOS_BAD_TOKEN, XOS_TOKEN_EXPIRED, XOS_VO_EXISTS (it is part of another VO), XOS_CONFIG, XOS_SERVICE, XOS_TIMEOUT.
 */
export async function joinGrid(machine: Machine, call: Call, text: string, options: JoinOptions): Promise<NodeStatus> {
  requireRoot(machine, 'join a VO');
  const token = decodeToken(text);
  const joined = await membership(machine);
  if (joined !== null && (joined.vo !== token.vo || joined.node !== token.node)) refuseSecondVo(machine, joined, `join VO '${token.vo}' as '${token.node}'`);
  const now_ms = Date.now();
  if (joined === null && now_ms > token.expires_ms) {
    throw new XosError('XOS_TOKEN_EXPIRED', `cannot join VO '${token.vo}': the token expired ${new Date(token.expires_ms).toISOString()}${clockHint(now_ms)}; make a new one with 'xvo node invite ${token.vo} ${token.node}'`);
  }
  const present = await readConfiguration(systemDisk, machine);
  const address = options.address ?? (joined === null ? undefined : present?.address) ?? await ownAddress(token);
  if (address === null) throw new XosError('XOS_ADDRESS', `cannot join VO '${token.vo}': this machine has no network address yet; connect it, or give its address with --address`);
  const roles = options.roles.length > 0 ? parseRoles(options.roles) : present?.roles ?? await defaultRoles(systemDisk, machine, false);
  const changed = await writeConfiguration(systemDisk, machine, present, { ...present, node: token.node, address, roles, join: text });
  await machine.markPrograms(call.signal);
  const is = (status: NodeStatus): boolean => status.node === token.node && status.vo === token.vo && (status.state === 'ready' || status.state === 'degraded');
  if (changed || !(await answers(call))) await machine.startDaemon(call.signal);
  return await waitForNode(call, { what: `node '${token.node}' to join VO '${token.vo}'`, is, timeout_ms: options.timeout_ms });
}

export function requireRoot(machine: Machine, what: string): void {
  if (machine.uid !== 0) throw new XosError('XOS_DENIED', `only root can make this machine ${what}`);
}

/** The VO that this machine is part of, by what it keeps on disk. */
export async function membership(machine: Machine): Promise<{ readonly vo: string; readonly node: string } | null> {
  const identity = await new IdentityStore(systemDisk, `${machine.state}/node`).load();
  return identity === null ? null : { vo: identity.trust.vo, node: identity.node };
}

export function refuseSecondVo(machine: Machine, joined: { readonly vo: string; readonly node: string }, wanted: string): never {
  throw new XosError('XOS_VO_EXISTS', `cannot ${wanted}: this machine is node '${joined.node}' of VO '${joined.vo}', and a node belongs to one VO; ` +
    `to give that up: xnode leave`, { vo: joined.vo, node: joined.node });
}

async function answers(call: Call): Promise<boolean> {
  const { ask } = await import('../lib/api.ts');
  return await ask(call, 'status', {}).then(() => true, () => false);
}

/** A machine without a battery for its clock begins in the past: no token is good then, and that is worth a word. */
const clockHint = (now_ms: number): string => ` (this machine's clock says ${new Date(now_ms).toISOString()})`;

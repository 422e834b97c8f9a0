import { XosError, describe } from '../../core/errors.ts';
import { node_roles, type NodeRole } from '../../core/model.ts';
import type { Disk } from '../../core/ports.ts';
import type { Machine } from './machine.ts';

/** What set-up knows of /etc/xos/node.json; other fields (policy, log, …) belong to the site and stay as they are. */
export interface Configuration {
  readonly node?: string;
  readonly address?: string;
  readonly roles?: readonly NodeRole[];
  readonly join?: string;
  readonly [field: string]: unknown;
}

/** null when there is none. Throws XOS_CONFIG when it is no JSON object: what is in it is somebody's work, so it is not replaced. */
export async function readConfiguration(disk: Disk, machine: Machine): Promise<Configuration | null> {
  const path = `${machine.etc}/node.json`;
  const text = await disk.read(path);
  if (text === null) return null;
  try {
    const value: unknown = JSON.parse(text.toString('utf8'));
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error('it is not an object');
    return value as Configuration;
  } catch (cause) {
    throw new XosError('XOS_CONFIG', `cannot set up this node: '${path}' cannot be read as JSON: ${describe(cause)}; mend it or move it away`, { path }, { cause });
  }
}

/** Writes what changed, readable by root only since the token is in it. Returns whether anything did. */
export async function writeConfiguration(disk: Disk, machine: Machine, present: Configuration | null, wanted: Configuration): Promise<boolean> {
  if (present !== null && JSON.stringify(present) === JSON.stringify(wanted)) return false;
  await disk.makeDirectory(machine.etc, 0o755);
  await disk.writeAtomic(`${machine.etc}/node.json`, `${JSON.stringify(wanted, null, 2)}\n`, { mode: 0o600 });
  return true;
}

/** The roles that the installed package has for a node that joins or founds. */
export async function defaultRoles(disk: Disk, machine: Machine, founding: boolean): Promise<readonly NodeRole[]> {
  const text = await disk.read(`${machine.share}/node-defaults.json`);
  const defaults = text === null ? {} : (JSON.parse(text.toString('utf8')) as { roles?: NodeRole[]; founding_roles?: NodeRole[] });
  if (!founding) return defaults.roles ?? ['osd', 'relay', 'mount'];
  if (text !== null && defaults.founding_roles === undefined) throw new XosError('XOS_ROLE', "a light node cannot found a VO: it has no registry; found it on a node with the package 'xtreemos-node'");
  return defaults.founding_roles ?? node_roles;
}

/** Roles as they were typed. Throws XOS_BAD_ARGUMENT. */
export function parseRoles(words: readonly string[]): readonly NodeRole[] {
  const roles = words.flatMap((word) => word.split(',')).filter((word) => word !== '');
  const unknown = roles.find((role) => !(node_roles as readonly string[]).includes(role));
  if (unknown !== undefined) throw new XosError('XOS_BAD_ARGUMENT', `there is no role '${unknown}'; a node may have ${node_roles.join(', ')}`);
  return roles as NodeRole[];
}

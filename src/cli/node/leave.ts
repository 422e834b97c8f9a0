import { XosError } from '../../core/errors.ts';
import type { NodeRole } from '../../core/model.ts';
import { systemDisk } from '../../platform/disk.ts';
import type { Call } from '../lib/command.ts';
import { readConfiguration } from './configuration.ts';
import { membership, requireRoot } from './join.ts';
import type { Machine } from './machine.ts';

export interface Left {
  readonly vo: string | null;
  readonly node: string | null;
}

/** What a node keeps for others: gone with it. */
const keepers: ReadonlyMap<NodeRole, string> = new Map([
  ['registry', 'the members and nodes of the VO'], ['dir', 'where its servers are'], ['mrc', 'names and attributes of files'], ['osd', 'stripes of files'],
]);
/** Folders of the state that are of one VO. */
const folders = ['node', 'vo', 'registry', 'dir', 'mrc', 'osd', 'relay', 'overlay', 'ssh', 'tmp', 'netboot'] as const;

/**
 * The way back from joinGrid: ends what the node runs, and removes its configuration, its key and what it kept. May be repeated, also after it was killed at any point:
 * the configuration goes first, so that what was cut off does not start again.
 * Errors: XOS_DENIED, XOS_NO_VO (it is no node), XOS_ROLE (others need what it keeps, and `force` is not set), XOS_CONFIG, XOS_SERVICE.
 */
export async function leaveGrid(machine: Machine, call: Call, force: boolean): Promise<Left> {
  requireRoot(machine, 'leave its VO');
  const [joined, present] = [await membership(machine), await readConfiguration(systemDisk, machine)];
  if (joined === null && present === null) throw new XosError('XOS_NO_VO', 'this machine is part of no VO');
  const kept = [...keepers].filter(([role]) => present?.roles?.includes(role) === true).map(([role, what]) => `${what} (${role})`);
  if (kept.length > 0 && !force) {
    throw new XosError('XOS_ROLE', `this machine keeps ${kept.join(', ')} for VO '${joined?.vo ?? '?'}', which would be lost: move it to another node first, or give it up with --force`);
  }
  await machine.stopDaemons(call.signal);
  for (const path of [`${machine.etc}/node.json`, ...folders.map((folder) => `${machine.state}/${folder}`), ...['passwd', 'group', 'node.env'].map((file) => `${machine.run}/${file}`)]) await systemDisk.remove(path);
  return { vo: joined?.vo ?? null, node: joined?.node ?? null };
}

import type { NodeContext } from '../daemon/context.ts';
import type { RelayLink } from './relay-link.ts';
import type { GridSelector } from './monitor.ts';

/** What every operation of this folder works on. */
export interface Jobs {
  readonly context: NodeContext;
  readonly link: RelayLink;
  readonly selector: GridSelector;
}

/** Who asks: the uid that the kernel tells (SO_PEERCRED), or a peer for its caller. */
export interface Asker {
  readonly uid: number;
}

/** Root of the node, and members with the role `admin`, may look at and signal all jobs of the VO. */
export function isAdmin(context: Pick<NodeContext, 'members'>, asker: Asker): boolean {
  return asker.uid === 0 || (context.members.byUid(asker.uid)?.roles.includes('admin') ?? false);
}

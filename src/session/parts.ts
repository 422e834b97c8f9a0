import type { NodeContext } from '../daemon/context.ts';
import type { MembersView } from '../vo/members.ts';
import type { ProofGate } from '../vo/proof.ts';
import type { Trust } from '../vo/trust.ts';
import type { SessionTable } from './table.ts';
import type { PendingLogins } from './pending.ts';
import type { Homes } from './homes.ts';
import type { Spread } from './spread.ts';

/** What the operations of this folder share. */
export interface SessionParts {
  readonly context: NodeContext;
  readonly trust: Trust;
  readonly members: MembersView;
  readonly table: SessionTable;
  readonly pending: PendingLogins;
  readonly homes: Homes;
  readonly spread: Spread;
  readonly gate: ProofGate;
  readonly policy: SitePolicy;
  /** Writes a renewed credential into the key of the session's keyring that PAM named; false when it is gone. */
  readonly updateKey: (key: number, payload: string) => boolean;
}

/** What this site decides by itself. */
export interface SitePolicy {
  /** Members that get no session here, neither by login nor from another node. */
  readonly deny: readonly string[];
  /** Jobs of a session end when its user logs out. Off: what was sent to the background with nohup goes on, as on any Linux. */
  readonly kill_on_logout: boolean;
  /** `volume`: the home is a volume of XtreemFS; `local`: a directory of this node, for a node without file services. */
  readonly homes: 'volume' | 'local';
}

import type { Attempts } from '../vo/attempts.ts';
import type { NodeContext } from '../daemon/context.ts';
import type { MembersView } from '../vo/members.ts';
import type { ProofGate } from '../vo/proof.ts';
import type { Trust } from '../vo/trust.ts';
import type { SitePolicy } from './policy.ts';
import type { SessionTable } from './table.ts';
import type { PendingLogins } from './pending.ts';
import type { Homes } from './homes.ts';
import type { OfflineLogins } from './offline.ts';
import type { SshAgents } from './ssh/agents.ts';
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
  /** Wrong passwords at this node; `saveAttempts` writes them down, soon. */
  readonly attempts: Attempts;
  readonly saveAttempts: () => void;
  readonly offline: OfflineLogins;
  readonly sshAgents: SshAgents;
  /** Where passwd and group of the node's own users are: /etc. */
  readonly localAccounts: string;
  readonly keys: CredentialKeys;
}

/** The credentials of sessions as the kernel keeps them. */
export interface CredentialKeys {
  /** Writes a renewed credential (PEM; empty: none) into the key of the session's keyring that PAM named; false when it is gone. */
  update(key: number, credential: string): boolean;
  /** Takes all credentials of these users out of the kernel's memory, in whatever session they are, also one that nobody here knows of. */
  revoke(uids: readonly number[]): void;
}

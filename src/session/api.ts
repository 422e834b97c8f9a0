import type { SessionSummary } from '../api/operations/node.ts';
import type { ApiRegistry } from '../api/registry.ts';
import type { Session } from '../core/model.ts';
import type { SessionTable } from './table.ts';

const summary = ({ session, user, vo, origin, started_ms, expires_ms, tty }: Session): SessionSummary => ({ session, user, vo, origin, started_ms, expires_ms, tty: tty ?? null });

/** Operations about sessions; returns the way to take them away. */
export function registerSessionOperations(api: ApiRegistry, table: SessionTable): () => void {
  const undo = [
    api.register('session-list', async (caller) => ({ sessions: table.list().filter((session) => caller.uid === 0 || caller.uid === session.uid).map(summary) })),
    api.register('who-am-i', async ({ uid, user, vo }) => ({ uid, user, vo, sessions: table.list().filter((session) => session.uid === uid).map(summary) })),
  ];
  return () => undo.forEach((stop) => stop());
}

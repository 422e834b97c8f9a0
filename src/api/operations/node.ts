import type { NodeRole } from '../../core/model.ts';

/** Operations about this node; any process may ask them. */
export interface NodeOperations {
  status: { request: Record<never, never>; response: NodeStatus };
  /** Who the caller is to the grid: its VO user and the sessions that it has on this node. */
  'who-am-i': { request: Record<never, never>; response: { readonly user: string | null; readonly vo: string | null; readonly uid: number; readonly sessions: readonly SessionSummary[] } };
  /** Sessions known on this node: all for root, the caller's own otherwise. */
  'session-list': { request: Record<never, never>; response: { readonly sessions: readonly SessionSummary[] } };
}

export interface NodeStatus {
  readonly node: string;
  /** null until the VO was founded or joined. */
  readonly vo: string | null;
  /** `waiting`: no VO yet; `joining`; `starting`; `ready`: logins work here; `degraded`: `services` says why. */
  readonly state: 'waiting' | 'joining' | 'starting' | 'ready' | 'degraded';
  /** Why the state is not `ready`; empty when it is. */
  readonly reason: string;
  readonly version: string;
  readonly address: string;
  readonly roles: readonly NodeRole[];
  readonly uptime_ms: number;
  readonly services: readonly { readonly name: string; readonly up: boolean; readonly detail: string }[];
  readonly peers: readonly { readonly node: string; readonly address: string; readonly state: string }[];
  readonly sessions: number;
  readonly memory_bytes: number;
}

export interface SessionSummary {
  readonly session: string;
  readonly user: string;
  readonly vo: string;
  readonly origin: string;
  readonly started_ms: number;
  readonly expires_ms: number;
  readonly tty: string | null;
}

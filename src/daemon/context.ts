import type { ControlClient } from '../core/control.ts';
import type { Member, NodeRecord, NodeRole, Session } from '../core/model.ts';
import type { Ports } from '../core/ports.ts';
import type { Rpc } from '../core/rpc.ts';
import type { ApiRegistry } from '../api/registry.ts';
import type { Service, ServiceStatus } from '../core/service.ts';

/**
 * What a service of xosd is made from: `(context) => Service`. Everything in it is alive when the service's start() is called, and the
 * node has its VO by then. xosd stops the services when the node leaves the VO.
 */
export interface NodeContext {
  readonly node: string;
  readonly vo: string;
  readonly address: string;
  /** Port of this xosd; the native services are at port + port_offset. */
  readonly port: number;
  readonly roles: readonly NodeRole[];
  /** Port of 127.0.0.1 for /metrics; 0 or absent: none. */
  readonly metrics_port?: number;
  readonly paths: Paths;
  readonly ports: Ports;
  readonly rpc: Rpc;
  /** Operations of /run/xos/xosd.sock. */
  readonly api: ApiRegistry;
  readonly native: NativeControls;
  readonly members: Members;
  readonly sessions: Sessions;
  /** What one service offers to others; null until it is there (src/volume provides `volumes`). */
  readonly provided: Provided;
}

/** A service that other parts bring; listed in src/daemon/services.ts. */
export type ServiceFactory = (context: NodeContext) => Service;

export interface Paths {
  /** /run/xos */
  readonly run: string;
  /** /var/lib/xos */
  readonly state: string;
  /** /etc/xos */
  readonly etc: string;
  /** /grid */
  readonly grid: string;
  /** /home */
  readonly home: string;
  /** /etc/skel */
  readonly skeleton: string;
  /** /run/service (runit) */
  readonly services: string;
}

/**
 * Reconnecting clients of the native daemons of this node; one exists whether or not the daemon runs (requests then fail at once with
 * XOS_UNAVAILABLE). `onConnect` callbacks run after each (re)connect: push there what the daemon must know.
 */
export interface NativeControls {
  readonly relay: ControlClient;
  readonly osd: ControlClient;
  readonly mrc: ControlClient;
  /** mount-VO.ctl */
  readonly mount: ControlClient;
}

export interface Members {
  /** Active and revoked members by name, as of the last verified document. */
  get(user: string): Member | null;
  byUid(uid: number): Member | null;
  list(): readonly Member[];
  node(node: string): NodeRecord | null;
  /** All nodes of the VO; `admitted()` only those that take part. */
  nodes(): readonly NodeRecord[];
  admitted(): readonly NodeRecord[];
  /** First admitted node with the role; null when there is none. */
  withRole(role: NodeRole): NodeRecord | null;
  /** Called after each change, not for the present state. Returns the way to stop. */
  onChange(listener: () => void): () => void;
  /** What the VO wants for its jobs on every node, as text (src/isolation/policy.ts). */
  policy(): Readonly<Record<string, string>>;
  /** True while the registry's stream is up. */
  connected(): boolean;
}

export interface Sessions {
  /** Sessions known on this node: those of its own logins and those opened from other nodes. */
  list(): readonly Session[];
  get(session: string): Session | null;
  onOpen(listener: (session: Session) => void): () => void;
  onClose(listener: (session: Session, reason: string) => void): () => void;
}

export interface Provided {
  volumes: VolumeProvider | null;
  overlay?: OverlayProvider | null;
  loads?: LoadProvider | null;
}

/** What nodes do at this moment; src/job provides it. */
export interface LoadProvider {
  /** This node's, as of its last measurement; null before the first. */
  now(): { readonly load: number; readonly running: number; readonly free_cpus: number; readonly memory_free: number } | null;
  /** Asks each node, all at once; who does not answer in time is not in the answer. */
  loads(nodes: readonly string[], signal: AbortSignal): Promise<ReadonlyMap<string, { readonly load: number; readonly running: number; readonly free_cpus: number; readonly memory_free: number }>>;
}

/** What other services have of the overlay (src/overlay/service). */
export interface OverlayProvider {
  /** Whether anybody in the VO subscribes to topics below VO/CHANNEL: what nobody waits for need not be told. */
  wanted(channel: string): boolean;
  /** Publishes as this node, without waiting; what cannot be sent is counted. */
  tell(topic: string, payload: Buffer): void;
  /** What it counts, as Prometheus reads it (text format 0.0.4). */
  exposition(): string;
  /** Whether the overlay of this node holds a node for alive; one that it never heard of may live all the same. */
  knows(node: string): boolean;
  /** The same with conditions on what nodes do now, which are asked of those that RSS found (ADS). 0: all. */
  query(query: string, count: number, signal: AbortSignal): Promise<readonly string[]>;
  /** Up to `count` nodes that fit a query (RSS). Throws XOS_BAD_QUERY, XOS_TIMEOUT, XOS_UNAVAILABLE. */
  find(query: string, count: number, signal: AbortSignal): Promise<readonly string[]>;
}

export interface VolumeProvider {
  /** Makes the volume unless it exists (then its owner is not touched). Resolves when this node's mount shows it at /grid/VO/NAME. */
  ensure(volume: { name: string; uid: number; gid: number; mode: number }, signal: AbortSignal): Promise<void>;
}

export type { ControlClient, Service, ServiceStatus };

/** What every record of a member has, wherever it is kept or sent. */
export interface MemberFacts {
  readonly user: string;
  readonly uid: number;
  readonly roles: readonly string[];
  readonly state: 'active' | 'revoked';
}

/** The facts of a VO as every service sees them. */
export interface Member extends MemberFacts {
  readonly vo: string;
  readonly gid: number;
  /** Numeric groups: own group, then members@vo. */
  readonly groups: readonly number[];
}

export type NodeRole = 'registry' | 'dir' | 'mrc' | 'osd' | 'relay' | 'mount';
export const node_roles: readonly NodeRole[] = ['registry', 'dir', 'mrc', 'osd', 'relay', 'mount'];

export interface NodeRecord {
  readonly node: string;
  /** IPv4 or IPv6 address or host name, as the node announced it when it joined. */
  readonly address: string;
  /** Port of its xosd. */
  readonly port: number;
  readonly roles: readonly NodeRole[];
  readonly state: 'invited' | 'admitted' | 'revoked';
}

/** Ports of the services of a node, all relative to that of its xosd (7001 unless told otherwise). */
export const port_offset = { xosd: 0, relay: 1, osd: 2, mrc: 3, metrics: 4 } as const;

export interface Session {
  /** 32 hexadecimal digits. */
  readonly session: string;
  readonly user: string;
  readonly vo: string;
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
  readonly roles: readonly string[];
  /** The node of the login. */
  readonly origin: string;
  readonly home: string;
  readonly expires_ms: number;
  /** Login facts, on the origin only. */
  readonly tty?: string;
  readonly pid?: number;
  readonly started_ms: number;
}

/** Operations on the VO's volumes. Anyone in the VO may list; members with the role `admin` and root may create and remove. */
export interface VolumeOperations {
  'volume-list': { request: Record<never, never>; response: { readonly volumes: readonly VolumeRow[] } };
  'volume-show': { request: { readonly volume: string }; response: { readonly volume: VolumeRow; readonly servers: VolumeServers } };
  'volume-create': {
    request: {
      readonly volume: string;
      /** Member who owns the root directory; the caller when absent. */
      readonly owner?: string;
      /** Permission bits of the root directory; 0o700 when absent. */
      readonly mode?: number;
      readonly policy?: Partial<VolumePolicy>;
    };
    response: { readonly volume: VolumeRow };
  };
  /** Removes the volume with all that is in it. */
  'volume-remove': { request: { readonly volume: string }; response: Record<never, never> };
  /** A volume, or what has this inode number in the mounted file system. */
  'volume-inspect': { request: VolumeObject; response: VolumeInspection };
  /** The owner of it and administrators; `null`: the volume's policy counts again. */
  'volume-policy': { request: VolumeObject & { readonly policy: Partial<VolumePolicy> | null }; response: Record<never, never> };
  /** Administrators. `user`: a member, `*` for those without limits of their own; the volume when absent. A limit of 0 is lifted. */
  'volume-quota': { request: { readonly volume: string; readonly user?: string; readonly bytes_max?: number; readonly files_max?: number }; response: Record<never, never> };
  /** All rows for administrators, else the volume's and the caller's. */
  'volume-usage': { request: { readonly volume: string }; response: VolumeUsage };
  /** Administrators: an OSD gives up its files (`drain`, goes on by itself), is used again, is taken away when it has nothing, or is looked at. */
  'volume-osd': { request: { readonly osd: string; readonly action: 'drain' | 'use' | 'remove' | 'status' }; response: OsdCareRow };
  /** A file is kept in `count` copies, gets one more at an OSD or loses that one (for its owner and administrators), or is looked at (for anyone). */
  'volume-replicas': { request: ReplicasRequest; response: ReplicasRow };
  /** A snapshot of the volume is made or removed (for its owner and administrators), or all are told of (for anyone). */
  'volume-snapshots': { request: SnapshotsRequest; response: SnapshotsRow };
  /** Administrators: one step of a dump or restore of a volume's metadata; pieces are in base64, at most 256 KiB. */
  'volume-transfer': { request: TransferStep; response: TransferAnswer };
  /** Administrators: objects that belong to no file are counted and, with `remove`, removed. Giving the request up ends it. */
  'volume-orphans': { request: { readonly remove: boolean; readonly grace_ms?: number }; response: OrphanSweep; progress: OrphanSweep };
  /** Anyone: the counters of all servers and mounts. */
  'volume-metrics': { request: Record<never, never>; response: FileSystemMetrics };
  /** Administrators: whether the metadata agrees with itself. `repair` mends it; programs that change files wait meanwhile. */
  'volume-check': { request: { readonly repair: boolean }; response: VolumeCheck };
}

export type SnapshotsRequest = VolumeObject & (
  | { readonly action: 'create' | 'remove'; readonly name: string } | { readonly action: 'list' });

export interface SnapshotsRow {
  readonly volume: string;
  /** In the order of their making. */
  readonly snapshots: readonly { readonly name: string; readonly created_ms: number }[];
  /** Of a snapshot that was made: its files and directories, and how many of those were open for writing. */
  readonly files: number;
  readonly writing: number;
}

export type ReplicasRequest = { readonly inode: number } & (
  | { readonly action: 'count'; readonly count: number } | { readonly action: 'add' | 'drop'; readonly osd: string } | { readonly action: 'status' });

export interface ReplicasRow {
  /** Copies of the contents; with more than one the file is not changed any more. */
  readonly copies: readonly { readonly state: string; readonly osds: readonly { readonly osd: string; readonly node: string; readonly up: boolean }[] }[];
  /** Of the copy that is being made. */
  readonly running: boolean;
  readonly bytes: number;
  readonly bytes_total: number;
  /** Why the last try came to nothing; it goes on by itself. */
  readonly reason: string;
}

export interface OsdCareRow {
  readonly osd: string;
  readonly state: string;
  /** Nothing is there any more. */
  readonly drained: boolean;
  readonly left: number;
  /** Since the metadata server was started. */
  readonly moved: number;
  readonly moved_bytes: number;
  /** Of the last round: files in use in a way that has to end first; files that failed, and why the last one did. */
  readonly busy: number;
  readonly failed: number;
  readonly reason: string;
}

export type TransferStep =
  | { readonly step: 'dump-begin'; readonly volume: string }
  | { readonly step: 'dump-read' | 'transfer-end'; readonly transfer: number }
  | { readonly step: 'restore-begin' }
  | { readonly step: 'restore-write'; readonly transfer: number; readonly data: string }
  | { readonly step: 'restore-commit'; readonly transfer: number; readonly volume: string; readonly incomplete: boolean };

export interface TransferAnswer {
  readonly transfer: number;
  readonly data: string;
  /** Of `dump-read`: that was all. */
  readonly end: boolean;
  /** Of `restore-commit`: what was restored, and how many files have no contents any more. */
  readonly inodes: number;
  readonly names: number;
  readonly bytes: number;
  readonly empty: number;
}

export interface OrphanSweep {
  /** It got to the end, and every OSD answered. */
  readonly whole: boolean;
  readonly osds: number;
  readonly osds_done: number;
  readonly osds_away: number;
  readonly objects: number;
  /** Objects of no file, and the bytes that they take. */
  readonly orphans: number;
  readonly orphan_bytes: number;
  readonly removed: number;
  readonly failed: number;
  /** Of no file as well, but changed too lately to be touched. */
  readonly young: number;
  /** Of numbers that the metadata server never gave out; never removed. */
  readonly unknown: number;
}

export interface FileSystemMetrics {
  readonly nodes: readonly {
    readonly node: string;
    /** Why the node did not answer; null when it did. */
    readonly reason: string | null;
    readonly servers: readonly {
      /** dir, mrc, osd or mount. */
      readonly server: string;
      /** In Prometheus' text format; null when it is down. */
      readonly text: string | null;
      readonly reason: string;
    }[];
  }[];
}

/** Of all volumes of the metadata server together. */
export interface VolumeCheck {
  readonly inodes: number;
  readonly entries: number;
  /** 0: the metadata agrees with itself. */
  readonly problems: number;
  /** The first hundred of them, in words. */
  readonly found: readonly string[];
}

export interface VolumeObject {
  readonly volume?: string;
  /** `st_ino`. */
  readonly inode?: number;
}

export interface VolumeInspection {
  readonly volume: string;
  readonly type: string;
  readonly owner: string;
  readonly policy: VolumePolicy;
  readonly own_policy: boolean;
  readonly has_acl: boolean;
  /** Of a file with contents. */
  readonly stripes: { readonly stripe_size: number; readonly width: number; readonly osds: readonly { readonly osd: string; readonly node: string; readonly up: boolean }[] } | null;
}

/** A limit of 0 is none. */
export interface UsageRow {
  readonly bytes: number;
  readonly files: number;
  readonly bytes_max: number;
  readonly files_max: number;
}

export interface VolumeUsage {
  readonly all: UsageRow;
  readonly every_user: UsageRow;
  readonly users: readonly (UsageRow & { readonly uid: number; readonly user: string })[];
}

export interface VolumePolicy {
  /** Bytes; a multiple of 4 KiB up to 4 MiB. */
  readonly stripe_size: number;
  /** How many object servers a file's stripes go over. */
  readonly width: number;
  /** Where new files go (docs/decisions/0007-home-placement.md). */
  readonly placement: 'with-mrc' | 'local' | 'spread';
  /** Whether reading moves access times; of the whole volume. */
  readonly atime: 'relatime' | 'noatime';
  /** Whether new files are kept in several copies that are written to, and how many of those a write takes (docs/decisions/0032-write-replication.md). */
  readonly replication: 'none' | 'quorum' | 'all';
  /** Copies; 1 without replication. */
  readonly replicas: number;
}

export interface VolumeRow {
  readonly volume: string;
  readonly uid: number;
  readonly gid: number;
  /** `alice`, or the number when it is no member's. */
  readonly owner: string;
  readonly mode: number;
  readonly policy: VolumePolicy;
  readonly used_bytes: number | null;
  readonly files: number | null;
}

export interface VolumeServers {
  readonly mrc: { readonly node: string; readonly address: string; readonly port: number; readonly up: boolean } | null;
  readonly osds: readonly { readonly osd: string; readonly node: string; readonly address: string; readonly port: number; readonly free_bytes: number; readonly total_bytes: number; readonly up: boolean }[];
}

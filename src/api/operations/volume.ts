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
}

export interface VolumePolicy {
  /** Bytes; a multiple of 4 KiB up to 4 MiB. */
  readonly stripe_size: number;
  /** How many object servers a file's stripes go over. */
  readonly width: number;
  /** Where new files go (docs/decisions/0007-home-placement.md). */
  readonly placement: 'with-mrc' | 'local' | 'spread';
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

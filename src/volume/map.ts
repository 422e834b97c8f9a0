import { port_offset, type NodeRecord } from '../core/model.ts';
import { limits } from './limits.ts';
import { pairOf, type DirState } from './state.ts';

/** What was last heard of a server; soft. Times are monotonic. */
export interface OsdHeard {
  readonly at_ms: number;
  readonly serving: boolean;
  readonly total_bytes: number;
  readonly free_bytes: number;
  readonly holds: readonly string[];
}
export interface MrcHeard {
  readonly at_ms: number;
  readonly serving: boolean;
}

export interface OsdEntry {
  readonly osd: string;
  readonly node: string;
  readonly address: string;
  readonly port: number;
  /** 64 hexadecimal digits; empty when the map is not for an MRC. */
  readonly key: string;
  readonly free_bytes: number;
  readonly total_bytes: number;
  readonly up: boolean;
}

export interface MrcEntry {
  readonly node: string;
  readonly address: string;
  readonly port: number;
  readonly up: boolean;
}

/** Everything a map is made from. */
export interface DirView {
  readonly state: DirState;
  readonly osds: ReadonlyMap<string, OsdHeard>;
  readonly mrcs: ReadonlyMap<string, MrcHeard>;
  /** Last watch of each node's mount. */
  readonly mounts: ReadonlyMap<string, number>;
  readonly nodeOf: (node: string) => NodeRecord | null;
  readonly now_ms: number;
}

/**
 * The object servers as one MRC gets them, sorted by id. One without a key for this MRC is left out, and one that does not hold the key
 * yet counts as down: a client that was sent there would be refused.
 */
export function osdsForMrc(view: DirView, mrc: string): readonly OsdEntry[] {
  return entries(view).flatMap((entry) => {
    const key = view.state.keys[pairOf(mrc, entry.osd)];
    if (key === undefined) return [];
    return [{ ...entry, key, up: entry.up && (view.osds.get(entry.osd)?.holds.includes(mrc) ?? false) }];
  });
}

/** The servers as a mount gets them: no keys. The MRC is the first one that is up, else the first: its address may be enough to wait at. */
export function serversForMount(view: DirView): { readonly mrc: MrcEntry | null; readonly osds: readonly OsdEntry[] } {
  const mrcs = Object.keys(view.state.mrcs).sort().flatMap((mrc): MrcEntry[] => {
    const record = admitted(view, mrc);
    if (record === null) return [];
    const heard = view.mrcs.get(mrc);
    return [{ node: mrc, address: record.address, port: record.port + port_offset.mrc, up: heard !== undefined && heard.serving && isFresh(heard.at_ms, view) }];
  });
  return { mrc: mrcs.find(({ up }) => up) ?? mrcs[0] ?? null, osds: entries(view) };
}

/** Nodes whose mount was there and is not any more, sorted. */
export function goneMounts(view: DirView): readonly string[] {
  return [...view.mounts].filter(([node, at_ms]) => view.now_ms - at_ms > limits.mount_silence_ms || view.nodeOf(node)?.state === 'revoked')
    .map(([node]) => node).sort();
}

/** Two maps are the same to those who get them when this is: free space may differ within a step. */
export const versionOf = (value: unknown): string => JSON.stringify(value);

function entries(view: DirView): readonly OsdEntry[] {
  return Object.keys(view.state.osds).sort().flatMap((osd): OsdEntry[] => {
    const record = admitted(view, osd);
    if (record === null) return [];
    const heard = view.osds.get(osd);
    return [{
      osd, node: osd, address: record.address, port: record.port + port_offset.osd, key: '',
      free_bytes: Math.floor((heard?.free_bytes ?? 0) / limits.free_step_bytes) * limits.free_step_bytes, total_bytes: heard?.total_bytes ?? 0,
      up: heard !== undefined && heard.serving && isFresh(heard.at_ms, view),
    }];
  });
}

const isFresh = (at_ms: number, view: DirView): boolean => view.now_ms - at_ms <= limits.silence_ms;

function admitted(view: DirView, node: string): NodeRecord | null {
  const record = view.nodeOf(node);
  return record?.state === 'admitted' ? record : null;
}

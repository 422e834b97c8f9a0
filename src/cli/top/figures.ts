import { growth, parseMetrics, quantile, total, type Metrics } from '../../core/exposition.ts';
import type { FileSystemMetrics } from '../../api/operations/volume.ts';

/** All counters at one moment of a steady clock. */
export interface Sample {
  readonly at_ms: number;
  readonly nodes: readonly { readonly node: string; readonly reason: string | null; readonly servers: readonly { readonly server: string; readonly metrics: Metrics | null; readonly reason: string }[] }[];
}

/** How a server (dir, mrc, osd) or a client (mount) is doing. What it has no figure for is null. */
export interface Figures {
  readonly node: string;
  readonly server: string;
  readonly up: boolean;
  readonly requests_per_s: number | null;
  /** Time in which 95 of 100 requests were done, of those between the two samples; a bound of a bucket, null when there were none. */
  readonly p95_ms: number | null;
  readonly read_bytes_per_s: number | null;
  readonly written_bytes_per_s: number | null;
  readonly open_files: number | null;
  readonly free_bytes: number | null;
  /** Of one CPU. */
  readonly cpu_share: number | null;
  readonly memory_bytes: number | null;
  /** Of a client: questions to the metadata server, and how many look-ups needed none. */
  readonly mrc_calls_per_s: number | null;
  readonly hit_share: number | null;
  /** What one should know besides, in words. */
  readonly notes: readonly string[];
}

export function sampleOf(answer: FileSystemMetrics, at_ms: number): Sample {
  return {
    at_ms,
    nodes: answer.nodes.map(({ node, reason, servers }) => ({
      node, reason, servers: servers.map(({ server, text, reason: why }) => ({ server, reason: why, metrics: text === null ? null : parseMetrics(text) })),
    })),
  };
}

/** Rates are those between the samples; of a server that is in the second one only, none. A node that does not answer is a row of its own. */
export function figuresOf(before: Sample, now: Sample): readonly Figures[] {
  const seconds = Math.max(0.001, (now.at_ms - before.at_ms) / 1000);
  return now.nodes.flatMap(({ node, reason, servers }): Figures[] => {
    if (reason !== null) return [{ ...nothing, node, server: '-', notes: [reason] }];
    const old = before.nodes.find((each) => each.node === node)?.servers ?? [];
    return servers.map(({ server, metrics, reason: why }) =>
      (metrics === null ? { ...nothing, node, server, notes: [why] } : figures(node, server, old.find((each) => each.server === server)?.metrics ?? null, metrics, seconds)));
  });
}

const nothing = {
  up: false, requests_per_s: null, p95_ms: null, read_bytes_per_s: null, written_bytes_per_s: null, open_files: null, free_bytes: null,
  cpu_share: null, memory_bytes: null, mrc_calls_per_s: null, hit_share: null,
} as const;

function figures(node: string, server: string, before: Metrics | null, now: Metrics, seconds: number): Figures {
  const has = (name: string): boolean => [...now.keys()].some((series) => series === name || series.startsWith(`${name}{`));
  const prefix = `xos_${server}`;
  const rate = (name: string): number | null => (before === null || !has(name) ? null : growth(before, now, name) / seconds);
  const gauge = (name: string): number | null => (has(name) ? total(now, name) : null);
  const p95 = before === null ? null : quantile(before, now, `${prefix}_request_seconds`, 0.95);
  return {
    node, server, up: true,
    requests_per_s: server === 'dir' ? rate('xos_dir_calls_total') : before === null ? null : growth(before, now, `${prefix}_request_seconds_count`) / seconds,
    p95_ms: p95 === null ? null : p95 * 1000,
    read_bytes_per_s: rate(`${prefix}_read_bytes_total`), written_bytes_per_s: rate(`${prefix}_written_bytes_total`),
    open_files: gauge(`${prefix}_open_files`), free_bytes: gauge(`${prefix}_free_bytes`),
    cpu_share: rate(`${prefix}_process_cpu_seconds_total`), memory_bytes: gauge(`${prefix}_process_resident_memory_bytes`),
    mrc_calls_per_s: rate('xos_mount_mrc_calls_total'), hit_share: hitShare(before, now), notes: notes(server, now),
  };
}

function hitShare(before: Metrics | null, now: Metrics): number | null {
  const hits = growth(before, now, 'xos_mount_cache_hits_total');
  const all = hits + growth(before, now, 'xos_mount_cache_misses_total');
  return before === null || all === 0 ? null : hits / all;
}

function notes(server: string, now: Metrics): string[] {
  const count = (name: string): number => total(now, name);
  const found: (string | false)[] = [];
  if (server === 'dir') found.push(`${count('xos_dir_osds_up')} of ${count('xos_dir_osds')} OSDs up`, `${count('xos_dir_mounts')} mounts`, count('xos_dir_mrc_up') === 0 && 'no metadata server');
  if (server === 'mrc') {
    found.push(`${count('xos_mrc_inodes')} files`, `${count('xos_mrc_sessions')} mounts`, count('xos_mrc_locks') > 0 && `${count('xos_mrc_locks')} locks`,
      count('xos_mrc_objects_to_delete') > 0 && `${count('xos_mrc_objects_to_delete')} removed files at OSDs`);
  }
  if (server === 'osd') {
    const [done, all] = [count('xos_osd_scrub_files'), count('xos_osd_scrub_files_total')];
    found.push(`${count('xos_osd_objects')} objects`, count('xos_osd_corrupt_blocks') > 0 && `${count('xos_osd_corrupt_blocks')} CORRUPT blocks`,
      count('xos_osd_scrub_running') > 0 && `scrub ${all === 0 ? 0 : Math.min(100, Math.floor((done / all) * 100))} %`, count('xos_osd_has_keys') === 0 && 'no key yet');
  }
  if (server === 'mount') {
    found.push(count('xos_mount_behind_writes') > 0 && `${count('xos_mount_behind_writes')} writes under way`, count('xos_mount_leased') === 0 && 'no lease: everything is asked for');
  }
  return found.filter((note) => note !== false);
}

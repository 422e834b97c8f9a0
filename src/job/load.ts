import { XosError } from '../core/errors.ts';
import { limits } from './limits.ts';
import type { LoadReport, Usage } from './model.ts';

/**
 * Measures this node. Read straight from /proc: four small files cost 0.2 ms, while systeminformation's currentLoad() and mem()
 * cost 20 MB of resident memory and some 30 ms at import, every second of which counts against the node's memory bar.
 */

/** A job that ran here and ended since the last measurement: without it a stream of short jobs would look like other load. */
export interface EndedHere {
  readonly job: string;
  readonly cpu_seconds: number;
}

/** One reading of the machine's counters. */
export interface Counters {
  readonly cpus: number;
  /** CPU seconds since boot that were not idle, over all CPUs. */
  readonly busy_seconds: number;
  readonly memory_free_bytes: number;
  readonly memory_total_bytes: number;
}

/** CPU that one job had used at the previous measurement. */
interface JobSample {
  readonly cpu_seconds: number;
  readonly first_seen_ms: number;
}

/** What the next measurement compares with. */
export interface LoadSample {
  readonly at_ms: number;
  readonly counters: Counters;
  readonly jobs: ReadonlyMap<string, JobSample>;
  /** Smoothed CPUs in use by anything but jobs. */
  readonly other: number;
}

/** Share of a new reading in the smoothed load: about three seconds of memory at one reading a second. */
const smoothing = 0.4;

/** Reads /proc/stat (proc_stat(5)) and /proc/meminfo (proc_meminfo(5)). Throws XOS_INTERNAL when the kernel's format is not known. */
export function parseCounters(stat: string, meminfo: string, ticks_per_second = 100): Counters {
  const total = /^cpu +(.*)$/m.exec(stat)?.[1]?.trim().split(/ +/).map(Number);
  const memory = (name: string): number => Number(new RegExp(`^${name}: +(\\d+) kB$`, 'm').exec(meminfo)?.[1] ?? Number.NaN) * 1024;
  const counters = {
    cpus: stat.match(/^cpu\d+ /gm)?.length ?? 0,
    // user nice system idle iowait irq softirq steal; guest time is in user already. Steal is not ours to use, so it counts as busy.
    busy_seconds: total === undefined ? Number.NaN : [0, 1, 2, 5, 6, 7].reduce((sum, field) => sum + (total[field] ?? 0), 0) / ticks_per_second,
    memory_free_bytes: memory('MemAvailable'),
    memory_total_bytes: memory('MemTotal'),
  };
  if (counters.cpus === 0 || Object.values(counters).some((value) => !Number.isFinite(value))) {
    throw new XosError('XOS_INTERNAL', 'cannot measure the load of this node: /proc/stat or /proc/meminfo is not in the known format');
  }
  return counters;
}

/**
 * Works out the load from two readings. A job that is young or busy holds a CPU (`running`); what a busy one uses beyond one CPU
 * counts as load, and an idle one holds nothing.
 * @param cells what runs here now
 * @param ended what ended here since `previous`
 * @param now_ms monotonic
 */
export function measure(
  node: string, previous: LoadSample | null, counters: Counters, cells: readonly Usage[], ended: readonly EndedHere[], now_ms: number,
): { readonly sample: LoadSample; readonly report: LoadReport } {
  const seconds = previous === null ? 0 : (now_ms - previous.at_ms) / 1000;
  const jobs = new Map<string, JobSample>();
  let [running, grid, beyond] = [0, 0, 0];
  for (const cell of cells) {
    const before = previous?.jobs.get(cell.job);
    const first_seen_ms = before?.first_seen_ms ?? now_ms;
    jobs.set(cell.job, { cpu_seconds: cell.cpu_seconds, first_seen_ms });
    const rate = seconds > 0 ? Math.max(0, cell.cpu_seconds - (before?.cpu_seconds ?? 0)) / seconds : 0;
    grid += rate;
    beyond += Math.max(0, rate - 1);
    if (now_ms - first_seen_ms < limits.job_young_ms || rate >= limits.job_idle_cpus) running++;
  }
  for (const { job, cpu_seconds } of ended) {
    if (seconds > 0 && !jobs.has(job)) grid += Math.max(0, cpu_seconds - (previous?.jobs.get(job)?.cpu_seconds ?? 0)) / seconds;
  }
  const busy = previous === null || seconds <= 0 ? 0 : Math.max(0, counters.busy_seconds - previous.counters.busy_seconds) / seconds;
  const other_now = Math.min(counters.cpus, Math.max(0, busy - grid));
  const other = previous === null ? other_now : previous.other + smoothing * (other_now - previous.other);
  const load = Math.floor(other + beyond + limits.load_slack_cpus);
  return {
    sample: { at_ms: now_ms, counters, jobs, other },
    report: {
      node, cpus: counters.cpus, running, load,
      memory_free_bytes: counters.memory_free_bytes, memory_total_bytes: counters.memory_total_bytes,
    },
  };
}

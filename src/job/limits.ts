import { gib, mib, minute_ms, second_ms } from '../core/units.ts';

/** The bounds of job management, in one place. Units are last in the name. */
export const limits = {
  /** How often a node measures itself, tells its peers and pushes the placement table. */
  report_interval_ms: second_ms,
  /** A peer that was silent for this long gets no new job. */
  report_silence_ms: 5 * second_ms,
  /** A report is pointless after the next one is due. */
  report_deadline_ms: second_ms,
  /** Nodes whose load this one follows: jobs go to one of them. */
  directory_max: 24,
  /** With fewer than so many found, others of the VO are followed as well. */
  directory_min: 8,
  directory_refresh_ms: 20 * second_ms,
  directory_deadline_ms: 5 * second_ms,
  /** Reports that are remembered, of nodes that follow us as well. */
  heard_max: 1_024,
  /** Nodes that `--where` chooses among. */
  choose_among_max: 48,
  loads_parallel_max: 64,
  /** A node with less free memory gets no new job: starting one would push it into swap or the OOM killer. */
  memory_free_bytes_min: 64 * mib,
  /** Other load counts in whole CPUs once it is within this of one, so that a busy daemon or the noise of measurement moves no job. */
  load_slack_cpus: 0.25,
  /** A job that is younger counts as a whole CPU, whatever it has used: it has had no time to show what it needs. */
  job_young_ms: 2 * second_ms,
  /** An older job that uses less is idle (an editor waits for a key) and holds no CPU. */
  job_idle_cpus: 0.05,

  /** Peers are asked in parallel; one that has not answered by then is named in a note. */
  fan_out_deadline_ms: second_ms,
  /** One turn of waiting for a job; the x-command asks again. */
  wait_turn_ms: 20 * second_ms,
  wait_turn_margin_ms: 3 * second_ms,
  /** A job whose home node is silent for this long while someone waits for it counts as lost. */
  wait_home_silence_ms: 10 * second_ms,
  /** Jobs in one message between nodes and in one line to an x-command. */
  list_portion: 200,
  /** A program's arguments are kept this far: for people, not to start it again. */
  argv_bytes_max: 512,
  signal_deadline_ms: 5 * second_ms,

  ended_jobs_max: 1_000,
  ended_jobs_ms: 10 * minute_ms,
  jobs_max: 100_000,
  /** Sanity bounds of a peer's report. */
  cpus_max: 65_536,
  memory_bytes_max: 1_048_576 * gib,
} as const;

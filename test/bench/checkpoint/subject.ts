import { type Beat, standstill } from './beat.ts'

/** Something whose process can be dumped and brought back. `start` first; then `live`, `dump`, `restore` in this order; `end` at any time. */
export interface Subject {
  /** Starts the process and waits until its memory is filled. */
  start(): Promise<void>
  /** Dumps it and leaves it running. */
  live(): Promise<Live>
  /** Dumps it and ends it: milliseconds. */
  dump(): Promise<number>
  /** Brings it back: milliseconds until it runs. */
  restore(): Promise<number>
  end(): Promise<void>
}

/** A dump that left its process running. */
export interface Live {
  /** The longest pause that the process itself saw meanwhile. */
  readonly still_ms: number
  /** From the start of the command to its end. */
  readonly total_ms: number
  /** Of all files of the checkpoint. */
  readonly bytes: number
}

/** What programs/heartbeat.py is to be: memory in MiB, threads and processes in all. */
export interface Load { readonly mib: number, readonly threads: number, readonly processes: number }

export const argumentsOf = ({ mib, threads, processes }: Load, log: string): string => `${mib} ${log} ${threads} ${processes}`

/** The standstill between two moments; a heartbeat that saw none was not looking (each way of dumping takes some milliseconds). */
export function seenStandstill(beat: Beat, from_ms: number, to_ms: number): number {
  const still_ms = standstill(beat, from_ms, to_ms)
  if (still_ms === 0) throw new Error('the process that was dumped saw no pause: its heartbeat is not to be believed')
  return still_ms
}

/** Below the home volume, where image files and logs of both go. */
export const directory = 'bench-checkpoint'
/** The home volume as every node has it, also before alice's first job there. */
export const volume = '/grid/demo/home.alice'

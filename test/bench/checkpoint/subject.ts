/** Something whose process can be dumped and brought back. `start` first; then `live`, `dump`, `restore` in this order; `end` at any time. */
export interface Subject {
  /** Starts the process and waits until its memory is filled. */
  start(): Promise<void>
  /** Dumps it and leaves it running: milliseconds that it stood still. */
  live(): Promise<number>
  /** Dumps it and ends it: milliseconds. */
  dump(): Promise<number>
  /** Brings it back: milliseconds until it runs. */
  restore(): Promise<number>
  end(): Promise<void>
}

/** Below the home volume, where image files and logs of both go. */
export const directory = 'bench-checkpoint'
/** The home volume as every node has it, also before alice's first job there. */
export const volume = '/grid/demo/home.alice'

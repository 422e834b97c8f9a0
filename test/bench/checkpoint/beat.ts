/** One standstill of the program, as it saw it itself. */
export interface Gap { readonly end_ms: number, readonly length_ms: number }

export interface Beat {
  /** The program's pid where it runs; null before it is ready. */
  readonly pid: number | null
  readonly gaps: readonly Gap[]
}

/** Reads the log of programs/heartbeat.py; a last line that is still being written is left out. */
export function parseBeat(text: string): Beat {
  let pid: number | null = null
  const gaps: Gap[] = []
  for (const line of text.split('\n').slice(0, -1)) {
    const [word, first, second] = line.split(' ')
    if (word === 'ready') pid = Number(first)
    if (word === 'gap') gaps.push({ end_ms: Number(first), length_ms: Number(second) })
  }
  return { pid, gaps }
}

/** The longest standstill that overlaps the time from `from_ms` to `to_ms` (since the epoch); 0 if there was none over 3 ms. */
export function standstill(beat: Beat, from_ms: number, to_ms: number): number {
  const seen = beat.gaps.filter(({ end_ms, length_ms }) => end_ms >= from_ms && end_ms - length_ms <= to_ms)
  return Math.max(0, ...seen.map(({ length_ms }) => length_ms))
}

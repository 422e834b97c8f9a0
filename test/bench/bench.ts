// What all topics share: the pen of the anchors, the programs, our grid. Each is made on first use and released at the end.

import { cpus, release, totalmem } from 'node:os'
import { type AnchorRoot, anchorRoot } from './anchors/root.ts'
import { Pen } from './anchors/pen.ts'
import { type Programs, buildPrograms } from './anchors/programs.ts'
import type { Cleanup } from './cleanup.ts'
import { Grid } from './grid.ts'
import { once } from './once.ts'

const anchorBase = '/var/lib/xos/anchors'

export interface BenchOptions {
  readonly quick: boolean
  readonly keep: boolean
  readonly signal: AbortSignal
  readonly cleanup: Cleanup
  say(text: string): void
}

export class Bench {
  readonly options: BenchOptions
  readonly #root: () => Promise<AnchorRoot>
  readonly pen: () => Promise<Pen>
  readonly programs: () => Promise<Programs>
  readonly grid: () => Promise<Grid>

  constructor(options: BenchOptions) {
    this.options = options
    this.#root = once(() => anchorRoot(anchorBase, options.say, options.signal))
    this.pen = once(async () => {
      const pen = await Pen.open(await this.#root())
      options.cleanup.add('the namespaces of the anchors', () => pen.close())
      return pen
    })
    this.programs = once(async () => buildPrograms(await this.pen()))
    this.grid = once(() => this.#bringUp())
  }

  async #bringUp(): Promise<Grid> {
    const { cleanup, keep, say, signal } = this.options
    const programs = await this.programs()
    const grid = await Grid.up(say, signal)
    if (!keep) cleanup.add('the grid', () => grid.down())
    await grid.install(programs)
    return grid
  }

  /** `quick` counts are for a look only. */
  count(full: number, quick: number): number {
    return this.options.quick ? quick : full
  }

  get cpus(): number {
    return cpus().length
  }
}

/** One line about the machine, for the head of a report. */
export function machine(): string {
  return `${cpus().length} processors (${cpus()[0]?.model.trim() ?? 'unknown'}), ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}`
}

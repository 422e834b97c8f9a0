/** What became of a command, wherever it ran. */
export interface Finished {
  /** As a shell has it: 128 + N for signal N. */
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  /** Standard input; empty when absent. */
  readonly input?: string | Buffer
  /** Default one minute; then the command is killed and its promise fails. */
  readonly timeout_ms?: number
}

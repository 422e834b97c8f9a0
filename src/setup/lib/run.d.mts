export interface RunOptions {
  log?: string; cwd?: string; env?: NodeJS.ProcessEnv; input?: string; signal?: AbortSignal; timeout_ms?: number; what?: string; onLine?: (line: string) => void
}
export declare function run(program: string, args: readonly string[], options?: RunOptions): Promise<string>
export declare function lastLines(text: string, count: number): string

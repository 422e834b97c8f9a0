export interface ImageOptions {
  readonly flavour: string
  readonly output?: string
  readonly version?: string
  readonly keyFolder?: string
  readonly outputs?: readonly string[]
  readonly gridRoot: string
  readonly packages?: string
  readonly log: string
  readonly signal: AbortSignal
  readonly progress: { say(line: string): void, step<T>(title: string, usual_s: number, work: (note: (text: string) => void) => Promise<T>): Promise<T>, end(): void }
}
export declare function buildImage(options: ImageOptions): Promise<{
  readonly version: string, readonly rootHash: string, readonly files: readonly { readonly path: string, readonly bytes: number, readonly sha256: string }[]
}>

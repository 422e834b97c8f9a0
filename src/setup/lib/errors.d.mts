export declare class SetupError extends Error {
  readonly code: string
  readonly log: string | undefined
  constructor(code: string, message: string, options?: { cause?: unknown; log?: string | undefined })
}

/** The text of anything thrown. */
export function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/**
 * Something that is made on first use and then shared; a failure is shared too, so that all that depends on it gives the same reason.
 */
export function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined
  return () => (made ??= make())
}

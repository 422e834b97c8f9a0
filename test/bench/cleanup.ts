// What the bench has acquired (namespaces, grids, directories), released in reverse order on every way out.

type Release = () => Promise<void> | void

interface Entry { readonly what: string; readonly release: Release }

/** A stack of things to release. `close` may be called twice, and while another call is under way: it runs each release once. */
export class Cleanup {
  readonly #entries: Entry[] = []
  #closing: Promise<void> | undefined

  /** Registers `release` and returns a function that runs it now (and only once). */
  add(what: string, release: Release): () => Promise<void> {
    const entry = { what, release }
    this.#entries.push(entry)
    return async () => {
      const at = this.#entries.indexOf(entry)
      if (at < 0) return
      this.#entries.splice(at, 1)
      await release()
    }
  }

  /** Releases everything, latest first. A release that fails is reported on stderr and does not stop the others. */
  close(): Promise<void> {
    this.#closing ??= this.#releaseAll().finally(() => { this.#closing = undefined })
    return this.#closing
  }

  async #releaseAll(): Promise<void> {
    for (let entry = this.#entries.pop(); entry !== undefined; entry = this.#entries.pop()) {
      try {
        await entry.release()
      } catch (error) {
        process.stderr.write(`bench: cannot release ${entry.what}: ${error instanceof Error ? error.message : String(error)}\n`)
      }
    }
  }
}

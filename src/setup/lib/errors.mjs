/** An error for the person at the terminal: what was attempted, what was wrong, what to do. `code` is stable (XOS_…). */
export class SetupError extends Error {
  /** @param {string} code @param {string} message @param {{cause?: unknown, log?: string}} [options] `log`: path of a file with the details */
  constructor(code, message, options = {}) {
    super(message, { cause: options.cause })
    this.name = 'SetupError'
    this.code = code
    this.log = options.log
  }
}

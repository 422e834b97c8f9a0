/**
 * The one error class of the control plane. The message says what was attempted, on what (quoted), what was wrong and what to do;
 * `code` is stable (XOS_…) and survives gRPC, the control sockets and the x-commands; `data` carries the fields that a program needs.
 */
export type ErrorData = Readonly<Record<string, string | number | boolean | null>>;

export class XosError extends Error {
  readonly code: string;
  readonly data: ErrorData;

  constructor(code: string, message: string, data: ErrorData = {}, options: { cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'XosError';
    this.code = code;
    this.data = data;
  }

  /** The form that crosses a process border. The cause stays at home: it may hold paths or secrets of this node. */
  toWire(): WireError {
    return { code: this.code, message: this.message, data: this.data };
  }

  static fromWire(wire: Partial<WireError> | undefined): XosError {
    return new XosError(wire?.code ?? 'XOS_INTERNAL', wire?.message ?? 'the other side reported an error without a message', wire?.data ?? {});
  }
}

export interface WireError {
  readonly code: string;
  readonly message: string;
  readonly data?: ErrorData;
}

/** Any thrown value as an XosError; an unknown one becomes XOS_INTERNAL (or `code`) and keeps its cause. */
export function asXosError(thrown: unknown, code = 'XOS_INTERNAL'): XosError {
  if (thrown instanceof XosError) return thrown;
  if (isAbort(thrown)) return new XosError('XOS_ABORTED', 'the operation was given up before it ended', {}, { cause: thrown });
  return new XosError(code, thrown instanceof Error ? thrown.message : String(thrown), {}, { cause: thrown });
}

export function isAbort(thrown: unknown): boolean {
  return thrown instanceof Error && (thrown.name === 'AbortError' || thrown.name === 'TimeoutError');
}

/** True when `thrown` is an XosError with one of the codes. */
export function hasCode(thrown: unknown, ...codes: readonly string[]): boolean {
  return thrown instanceof XosError && codes.includes(thrown.code);
}

/** The chain of messages of an error and its causes, for a log line. */
export function describe(thrown: unknown): string {
  const parts: string[] = [];
  for (let error: unknown = thrown, depth = 0; error !== undefined && depth < 5; depth++) {
    const message = error instanceof Error ? error.message : String(error);
    // A cause whose words its error has taken up says nothing more.
    if (!parts.some((part) => part.includes(message)) && !(depth > 0 && parts.at(-1)!.length > 40 && message.includes(parts.at(-1)!.slice(-40)))) parts.push(message);
    error = error instanceof Error ? error.cause : undefined;
  }
  return parts.join(': ');
}

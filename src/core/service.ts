/**
 * A part of xosd with a life. `start` resolves when it serves; `stop` releases everything, may be called twice and after a failed start.
 * xosd starts services in order and stops them in reverse.
 */
export interface Service {
  readonly name: string;
  start(signal: AbortSignal): Promise<void>;
  stop(): Promise<void>;
  /** For `status`: up, or why not. */
  status?(): ServiceStatus;
}

export interface ServiceStatus {
  readonly up: boolean;
  readonly detail: string;
}

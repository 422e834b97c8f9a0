/** JSON-lines control sockets (docs/architecture.md, "control"); src/platform/control.ts has the implementation. */
export type ControlMessage = Readonly<Record<string, unknown>>;

export interface ControlRequestOptions {
  readonly signal?: AbortSignal;
  /** Default limits.control_request_ms. */
  readonly timeout_ms?: number;
  /** Called for each `more` line before the answer. */
  readonly onProgress?: (progress: ControlMessage) => void;
}

export interface ControlClient {
  readonly path: string;
  readonly connected: boolean;
  /** Why there is no connection; empty while there is one. */
  readonly reason: string;
  /**
   * One request; resolves with the answer's fields (without id and ok), rejects with the XosError that the other side told, or
   * XOS_UNAVAILABLE (not connected, connection lost), XOS_TIMEOUT, XOS_ABORTED.
   */
  request<T = ControlMessage>(op: string, fields?: object, options?: ControlRequestOptions): Promise<T>;
  /** Runs at once if connected, and after each reconnect. Returns the way to stop. */
  onConnect(listener: () => void): () => void;
  onDisconnect(listener: (reason: string) => void): () => void;
  /** Events of one name. */
  onEvent<T = ControlMessage>(name: string, listener: (event: T) => void): () => void;
}

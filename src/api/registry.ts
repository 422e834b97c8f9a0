import { XosError } from '../core/errors.ts';
import type { OperationName, Progress, Request, Response } from './operations.ts';

/** Who calls, by SO_PEERCRED; `user` and `vo` when the uid is that of a member. */
export interface ApiCaller {
  readonly uid: number;
  readonly gid: number;
  readonly pid: number;
  readonly user: string | null;
  readonly vo: string | null;
}

/**
 * A handler resolves with the response, or is a generator that yields progress lines and returns the response.
 * It checks the caller itself: the socket is open to every process of the node.
 */
export type ApiHandler<N extends OperationName> = (
  caller: ApiCaller,
  request: Request<N>,
  signal: AbortSignal,
) => Promise<Response<N>> | AsyncGenerator<Progress<N>, Response<N>, void>;

/** A handler whose operation is only known by name. */
export type AnyApiHandler = (caller: ApiCaller, request: object, signal: AbortSignal) => Promise<object> | AsyncGenerator<object, object, void>;

/** Operations of /run/xos/xosd.sock; services register theirs when they start and take them away when they stop. */
export class ApiRegistry {
  readonly #handlers = new Map<string, AnyApiHandler>();

  /** Returns the way to take it away. Throws when the operation has a handler. */
  register<N extends OperationName>(name: N, handler: ApiHandler<N>): () => void {
    if (this.#handlers.has(name)) throw new XosError('XOS_INTERNAL', `operation '${name}' has a handler already`);
    this.#handlers.set(name, handler as unknown as AnyApiHandler);
    return () => void this.#handlers.delete(name);
  }

  get(name: string): AnyApiHandler | null {
    return this.#handlers.get(name) ?? null;
  }

  names(): readonly string[] {
    return [...this.#handlers.keys()].sort();
  }
}

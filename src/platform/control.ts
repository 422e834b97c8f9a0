import type { Duplex } from 'node:stream';
import { XosError, asXosError, describe, isAbort, type WireError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import { Listeners, keepTrying } from '../core/signal.ts';
import type { ControlClient, ControlMessage, ControlRequestOptions } from '../core/control.ts';
import type { Clock, Listener, Log, Network, UnixPeer } from '../core/ports.ts';

/**
 * Control sockets: JSON lines over a Unix socket (docs/architecture.md, "control").
 * Request {"id","op",…}; answer {"id","ok":true,…} or {"id","ok":false,"error":{code,message}}; before the answer any number of
 * {"id","more":{…}}; {"id","cancel":true} from the client gives a request up; {"event":"name",…} goes to every controller.
 */

/** Splits a byte stream into lines; a line longer than the bound ends the stream with XOS_MALFORMED. */
export function readLines(stream: Duplex, onLine: (line: string) => void, onEnd: (reason: XosError | null) => void, line_bytes_max: number = limits.control_line_bytes_max): void {
  let rest: Buffer[] = [];
  let size = 0;
  let ended = false;
  const end = (reason: XosError | null): void => {
    if (ended) return;
    ended = true;
    onEnd(reason);
  };
  stream.on('data', (chunk: Buffer) => {
    let from = 0;
    for (let at = chunk.indexOf(10); at >= 0 && !ended; at = chunk.indexOf(10, from)) {
      const piece = chunk.subarray(from, at);
      if (size + piece.length > line_bytes_max) break;
      onLine(rest.length === 0 ? piece.toString('utf8') : Buffer.concat([...rest, piece]).toString('utf8'));
      rest = [];
      size = 0;
      from = at + 1;
    }
    if (ended) return;
    const tail = chunk.subarray(from);
    size += tail.length;
    if (tail.length > 0) rest.push(tail);
    if (size > line_bytes_max) {
      end(new XosError('XOS_MALFORMED', `a line is longer than ${line_bytes_max} bytes`));
      stream.destroy();
    }
  });
  stream.on('error', (cause) => end(asXosError(cause, 'XOS_UNAVAILABLE')));
  stream.on('end', () => end(null));
  stream.on('close', () => end(null));
}

function parseObject(line: string): Record<string, unknown> {
  const value: unknown = JSON.parse(line);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new XosError('XOS_MALFORMED', 'a control line must be a JSON object');
  return value as Record<string, unknown>;
}

/** False when the other side does not read: the stream is then destroyed. */
function send(stream: Duplex, message: object): boolean {
  if (stream.destroyed || stream.writableEnded) return false;
  stream.write(`${JSON.stringify(message)}\n`);
  if (stream.writableLength > limits.control_backlog_bytes_max) stream.destroy();
  return !stream.destroyed;
}

interface Pending {
  readonly resolve: (answer: never) => void;
  readonly reject: (reason: XosError) => void;
  readonly onProgress: ((progress: ControlMessage) => void) | undefined;
}

/** A client that connects by itself, again after each loss, until `close()`. */
export class ReconnectingControlClient implements ControlClient {
  readonly path: string;
  readonly #network: Network;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #stopping = new AbortController();
  readonly #connects = new Listeners<[]>();
  readonly #disconnects = new Listeners<[string]>();
  readonly #events = new Map<string, Listeners<[never]>>();
  readonly #pending = new Map<number, Pending>();
  #stream: Duplex | null = null;
  #reason = 'not connected yet';
  #next = 1;
  #running: Promise<void> | null = null;

  constructor(path: string, ports: { network: Network; clock: Clock; log: Log }) {
    this.path = path;
    this.#network = ports.network;
    this.#clock = ports.clock;
    this.#log = ports.log;
  }

  get connected(): boolean {
    return this.#stream !== null;
  }

  get reason(): string {
    return this.#stream === null ? this.#reason : '';
  }

  start(): void {
    this.#running ??= keepTrying(() => this.#live(), {
      clock: this.#clock,
      // That a daemon is not there (yet) is told by `status`, not by a line every two seconds.
      log: { ...this.#log, warn: (message, fields) => this.#log.debug(message, fields) },
      what: `connection to '${this.path}'`,
      signal: this.#stopping.signal,
      ms_min: limits.control_reconnect_ms_min,
      ms_max: limits.control_reconnect_ms_max,
    });
  }

  async close(): Promise<void> {
    this.#stopping.abort();
    this.#stream?.destroy();
    await this.#running;
  }

  async #live(): Promise<void> {
    const stream = await this.#network.connectUnix(this.path, this.#clock.deadline(limits.control_request_ms, this.#stopping.signal)).catch((cause) => {
      this.#reason = describe(cause);
      throw cause;
    });
    if (this.#stopping.signal.aborted) return void stream.destroy();
    await new Promise<void>((ended) => {
      readLines(stream, (line) => this.#onLine(line, stream), (failed) => {
        this.#stream = null;
        this.#reason = failed === null ? 'the daemon closed the connection' : failed.message;
        stream.destroy();
        this.#failAll(new XosError('XOS_UNAVAILABLE', `connection to '${this.path}' was lost: ${this.#reason}`));
        this.#disconnects.emit(this.#reason);
        ended();
      });
      this.#stream = stream;
      this.#connects.emit();
    });
  }

  #failAll(reason: XosError): void {
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const one of pending) one.reject(reason);
  }

  #onLine(line: string, stream: Duplex): void {
    let message: Record<string, unknown>;
    try {
      message = parseObject(line);
    } catch (cause) {
      this.#log.error('malformed line on a control socket, reconnecting', { path: this.path, reason: describe(cause) });
      return void stream.destroy();
    }
    if (typeof message['event'] === 'string') return this.#events.get(message['event'])?.emit(message as never);
    const id = Number(message['id']);
    const pending = this.#pending.get(id);
    if (pending === undefined) return; // given up meanwhile
    if (typeof message['more'] === 'object' && message['more'] !== null) return pending.onProgress?.(message['more'] as ControlMessage);
    this.#pending.delete(id);
    const { id: _, ok, error, ...fields } = message;
    if (ok === true) pending.resolve(fields as never);
    else pending.reject(XosError.fromWire(error as Partial<WireError>));
  }

  async request<T = ControlMessage>(op: string, fields: object = {}, options: ControlRequestOptions = {}): Promise<T> {
    const stream = this.#stream;
    if (stream === null) throw new XosError('XOS_UNAVAILABLE', `cannot ask '${this.path}' for '${op}': ${this.#reason}`, { path: this.path, op });
    if (this.#pending.size >= limits.control_requests_open_max) throw new XosError('XOS_BUSY', `cannot ask '${this.path}' for '${op}': ${this.#pending.size} requests are open; try again`);
    const signal = this.#clock.deadline(options.timeout_ms ?? limits.control_request_ms, options.signal);
    const id = this.#next++;
    return await exchange<T>({
      signal,
      op,
      path: this.path,
      register: (pending) => this.#pending.set(id, { ...pending, onProgress: options.onProgress }),
      forget: () => void this.#pending.delete(id),
      write: () => void send(stream, { ...fields, id, op }),
      cancel: () => void send(stream, { id, cancel: true }),
    });
  }

  onConnect(listener: () => void): () => void {
    const stop = this.#connects.add(listener);
    if (this.connected) listener();
    return stop;
  }

  onDisconnect(listener: (reason: string) => void): () => void {
    return this.#disconnects.add(listener);
  }

  onEvent<T = ControlMessage>(name: string, listener: (event: T) => void): () => void {
    let listeners = this.#events.get(name);
    if (listeners === undefined) this.#events.set(name, (listeners = new Listeners()));
    return listeners.add(listener);
  }
}

function exchange<T>(parts: {
  signal: AbortSignal;
  op: string;
  path: string;
  register: (pending: Pick<Pending, 'resolve' | 'reject'>) => void;
  forget: () => void;
  write: () => void;
  cancel: () => void;
}): Promise<T> {
  const { signal } = parts;
  return new Promise<T>((resolve, reject) => {
    if (signal.aborted) return reject(gaveUp(signal, parts.op, parts.path));
    const onAbort = (): void => {
      parts.forget();
      parts.cancel();
      reject(gaveUp(signal, parts.op, parts.path));
    };
    const settled = (): void => signal.removeEventListener('abort', onAbort);
    signal.addEventListener('abort', onAbort, { once: true });
    parts.register({
      resolve: (answer) => (settled(), resolve(answer)),
      reject: (reason) => (settled(), reject(reason)),
    });
    parts.write();
  });
}

function gaveUp(signal: AbortSignal, op: string, path: string): XosError {
  const late = signal.reason instanceof Error && signal.reason.name === 'TimeoutError';
  return new XosError(late ? 'XOS_TIMEOUT' : 'XOS_ABORTED', late ? `'${path}' did not answer '${op}' in time` : `'${op}' on '${path}' was given up`, { op }, { cause: signal.reason });
}

/**
 * One request on a connection of its own: for programs that ask once. Errors as of ControlClient.request, XOS_UNAVAILABLE when nobody
 * listens. `timeout_ms` null waits as long as the other side works.
 */
export async function controlRequest<T>(
  ports: { network: Pick<Network, 'connectUnix'>; clock: Pick<Clock, 'deadline'> },
  path: string,
  op: string,
  fields: object,
  options: Omit<ControlRequestOptions, 'timeout_ms'> & { timeout_ms?: number | null } = {},
): Promise<T> {
  const timeout_ms = options.timeout_ms === undefined ? limits.control_request_ms : options.timeout_ms;
  const signal = timeout_ms === null ? (options.signal ?? new AbortController().signal) : ports.clock.deadline(timeout_ms, options.signal);
  const stream = await ports.network.connectUnix(path, signal).catch((cause) => {
    throw isAbort(cause) ? gaveUp(signal, op, path) : new XosError('XOS_UNAVAILABLE', `cannot reach '${path}': ${describe(cause)}; is xosd running?`, { path }, { cause });
  });
  try {
    return await exchange<T>({
      signal,
      op,
      path,
      register: (pending) => readAnswer(stream, path, { ...pending, onProgress: options.onProgress }),
      forget: () => {},
      write: () => void send(stream, { ...fields, id: 1, op }),
      cancel: () => void send(stream, { id: 1, cancel: true }),
    });
  } finally {
    stream.destroy();
  }
}

function readAnswer(stream: Duplex, path: string, pending: Pending): void {
  readLines(
    stream,
    (line) => {
      try {
        const { id: _, ok, error, more, ...fields } = parseObject(line);
        if (more !== undefined) pending.onProgress?.(more as ControlMessage);
        else if (ok === true) pending.resolve(fields as never);
        else if (ok === false) pending.reject(XosError.fromWire(error as Partial<WireError>));
      } catch (cause) {
        pending.reject(new XosError('XOS_MALFORMED', `'${path}' sent a line that is none: ${describe(cause)}`, {}, { cause }));
      }
    },
    (failed) => pending.reject(failed ?? new XosError('XOS_UNAVAILABLE', `'${path}' closed the connection without an answer`)),
  );
}

/** What a request's handler gets besides its fields. */
export interface ControlCall {
  readonly peer: UnixPeer;
  readonly signal: AbortSignal;
  /** Sends a `more` line. */
  progress(fields: object): void;
}

export type ControlHandler = (op: string, fields: Record<string, unknown>, call: ControlCall) => Promise<object | void>;

/** The serving side. Handlers run concurrently; a connection that ends aborts what it asked for. */
export class ControlServer {
  readonly #ports: { network: Network; log: Log };
  readonly #path: string;
  readonly #mode: number;
  readonly #handler: ControlHandler;
  readonly #streams = new Set<Duplex>();
  #listener: Listener | null = null;

  constructor(ports: { network: Network; log: Log }, path: string, mode: number, handler: ControlHandler) {
    this.#ports = ports;
    this.#path = path;
    this.#mode = mode;
    this.#handler = handler;
  }

  async start(): Promise<void> {
    this.#listener = await this.#ports.network.listenUnix(this.#path, this.#mode, (stream, peer) => this.#accept(stream, peer));
  }

  async stop(): Promise<void> {
    await this.#listener?.close();
    this.#listener = null;
  }

  emit(event: object): void {
    for (const stream of this.#streams) send(stream, event);
  }

  #accept(stream: Duplex, peer: UnixPeer): void {
    if (this.#streams.size >= limits.api_connections_max) {
      send(stream, { id: 0, ok: false, error: { code: 'XOS_BUSY', message: 'too many connections; try again' } });
      return void stream.destroy();
    }
    this.#streams.add(stream);
    const open = new Map<number, AbortController>();
    readLines(
      stream,
      (line) => this.#onLine(line, stream, peer, open),
      () => {
        // Node does not tell a client that is gone from one that only closed its sending side; what nobody waits for must end.
        this.#streams.delete(stream);
        for (const call of open.values()) call.abort();
        stream.destroy();
      },
    );
  }

  #onLine(line: string, stream: Duplex, peer: UnixPeer, open: Map<number, AbortController>): void {
    let message: Record<string, unknown>;
    try {
      message = parseObject(line);
    } catch {
      send(stream, { id: 0, ok: false, error: { code: 'XOS_MALFORMED', message: 'a request must be one JSON object on one line' } });
      return void stream.end();
    }
    const { id, op, cancel, ...fields } = message;
    if (typeof id !== 'number' || !Number.isSafeInteger(id)) return void send(stream, { id: 0, ok: false, error: { code: 'XOS_MALFORMED', message: 'a request needs an integer id' } });
    if (cancel === true) return open.get(id)?.abort();
    const refused = typeof op !== 'string' ? 'a request needs an op' : open.has(id) ? `a request with id ${id} is open` : open.size >= limits.control_requests_open_max ? 'too many open requests' : null;
    if (refused !== null) return void send(stream, { id, ok: false, error: { code: 'XOS_MALFORMED', message: refused } });
    const controller = new AbortController();
    open.set(id, controller);
    void this.#answer(op as string, fields, { peer, signal: controller.signal, progress: (more) => void send(stream, { id, more }) })
      .then((answer) => send(stream, { ...answer, id }))
      .finally(() => open.delete(id));
  }

  async #answer(op: string, fields: Record<string, unknown>, call: ControlCall): Promise<object> {
    try {
      return { ...(await this.#handler(op, fields, call)), ok: true };
    } catch (thrown) {
      const error = asXosError(thrown);
      if (error.code === 'XOS_INTERNAL') this.#ports.log.error('a request failed', { op, reason: describe(thrown) });
      return { ok: false, error: error.toWire() };
    }
  }
}

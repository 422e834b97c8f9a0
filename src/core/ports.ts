import type { Duplex } from 'node:stream';

/**
 * What the services need of the world. They import these interfaces only; src/platform has the real ones, tests and the simulator bring
 * their own. Whatever waits takes an AbortSignal and rejects with its reason.
 */
export interface Clock {
  /** Wall clock in milliseconds since 1970 (UTC). May jump. */
  now_ms(): number;
  /** Never jumps; only differences mean something. */
  monotonic_ms(): number;
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** A signal that is aborted (TimeoutError) after `ms`, or as soon as `signal` is. Holds no timer after either. */
  deadline(ms: number, signal?: AbortSignal): AbortSignal;
}

export interface Random {
  bytes(count: number): Buffer;
  /** Uniform in [0, below). */
  integer(below: number): number;
}

export interface FileFacts {
  readonly kind: 'file' | 'directory' | 'symlink' | 'other';
  readonly size_bytes: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

export interface Disk {
  /** null when it does not exist. */
  read(path: string): Promise<Buffer | null>;
  /** Whole or not at all, also after a power cut: temporary file, fsync, rename, fsync of the directory. Mode defaults to 0600. */
  writeAtomic(path: string, data: Buffer | string, options?: { mode?: number; durable?: boolean }): Promise<void>;
  /** With parents; an existing one gets the mode. */
  makeDirectory(path: string, mode?: number): Promise<void>;
  /** Removing what is not there is no error. */
  remove(path: string): Promise<void>;
  /** Names in a directory, sorted; empty when it does not exist. */
  list(path: string): Promise<readonly string[]>;
  /** Does not follow links; null when it does not exist. */
  facts(path: string): Promise<FileFacts | null>;
  /** Bytes that a process without privileges may still write to the file system of a path. Rejects when there is no such path. */
  free(path: string): Promise<number>;
  /** chown(2); does not follow links. */
  own(path: string, owner: { uid: number; gid: number }): Promise<void>;
  /** Copies a tree into an existing directory as owner uid:gid; never replaces what is there. */
  copyTree(from: string, to: string, owner: { uid: number; gid: number }, signal?: AbortSignal): Promise<void>;
}

export interface UnixPeer {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

export interface Listener {
  /** Stops accepting, destroys what is open and removes the socket. */
  close(): Promise<void>;
}

export interface Network {
  connectUnix(path: string, signal?: AbortSignal): Promise<Duplex>;
  /** Binds a Unix stream socket with `mode`, replacing a stale one. `peer` is what the kernel says (SO_PEERCRED). */
  listenUnix(path: string, mode: number, accept: (stream: Duplex, peer: UnixPeer) => void): Promise<Listener>;
  /** Answers HTTP GET on 127.0.0.1 (port 0: a free one); everything else is refused. `answer` gets the path; null is 404, a rejection 503. */
  listenHttp(port: number, answer: (path: string, signal: AbortSignal) => Promise<HttpAnswer | null>): Promise<Listener & { readonly port: number }>;
}

export interface HttpAnswer {
  readonly type: string;
  readonly body: string;
}

/** A UDP socket of this node. */
export interface DatagramSocket {
  /** The port it is bound to. */
  readonly port: number;
  /** Gone when the kernel has no room, the network is away or the address cannot be: as datagrams are. */
  send(bytes: Uint8Array, address: string, port: number): void;
  close(): Promise<void>;
}

export interface Datagrams {
  /** Binds a UDP socket; IPv6 when the address has a ':'. `receive` gets a buffer that is its own. */
  bind(address: string, port: number, receive: (bytes: Buffer, address: string, port: number) => void): Promise<DatagramSocket>;
}

export interface SpawnResult {
  readonly exit_code: number | null;
  readonly exit_signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Spawn {
  /** Runs a program to its end. Output is bounded (1 MiB each, the rest dropped). Rejects when it cannot be started or `signal` aborts. */
  run(program: string, args: readonly string[], options?: { input?: string; signal?: AbortSignal; timeout_ms?: number }): Promise<SpawnResult>;
}

/** Processes of this node, as far as sessions need them. */
export interface Processes {
  /** Ids of live processes whose real or effective uid is `uid`. */
  ofUser(uid: number): Promise<readonly number[]>;
  /** Start time in clock ticks since boot (distinguishes a reused pid); null when there is no such process. */
  startTime(pid: number): Promise<number | null>;
  /** False when it was gone already. */
  kill(pid: number, signal: NodeJS.Signals): boolean;
}

export interface Mounts {
  /** True when the mount point answers; false when nothing is mounted there or the file system behind it is dead. */
  alive(path: string, signal?: AbortSignal): Promise<boolean>;
  /** Bind mount with shared propagation; a dead or other mount at `to` is taken away first. */
  bind(from: string, to: string, signal?: AbortSignal): Promise<void>;
  /** Lazy unmount of everything stacked at `path`; nothing there is no error. */
  unmount(path: string): Promise<void>;
  /** What is mounted at or below `path`, from /proc/self/mountinfo. */
  list(path: string): Promise<readonly string[]>;
  /** Makes a directory a mount of its own that propagates into the namespaces of sessions and cells. */
  share(path: string): Promise<void>;
}

export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined>>;

export interface Log {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** The same log with `area` before each message. */
  child(area: string): Log;
}

export interface ServiceManager {
  up(name: string, signal?: AbortSignal): Promise<void>;
  down(name: string, signal?: AbortSignal): Promise<void>;
  /** SIGHUP: re-read the credentials. */
  reload(name: string, signal?: AbortSignal): Promise<void>;
  /** `up`, `down`, or `unknown` when there is no such service. */
  state(name: string, signal?: AbortSignal): Promise<{ readonly state: 'up' | 'down' | 'unknown'; readonly detail: string }>;
}

export interface Ports {
  readonly clock: Clock;
  readonly random: Random;
  readonly disk: Disk;
  readonly network: Network;
  readonly datagrams: Datagrams;
  readonly spawn: Spawn;
  readonly processes: Processes;
  readonly mounts: Mounts;
  readonly log: Log;
  readonly serviceManager: ServiceManager;
}

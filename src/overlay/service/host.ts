import type { Clock, Log } from '../../core/ports.ts';
import { describe } from '../../core/errors.ts';
import { Codecs, Metrics, Random, WireError, limits, recycle, type Book, type Codec, type Host, type KnownPeers, type Message, type Peer, type Protocol } from '../core/index.ts';
import { Timers } from './timers.ts';

export interface NodeHostOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly known: KnownPeers;
  readonly metrics: Metrics;
  readonly random: Random;
  readonly codecs: readonly Codec[];
  /** Hands a frame to the transport. */
  readonly send: (node: string, frame: Uint8Array) => boolean;
}

/** The protocols of one real node: row 0, datagrams, the clock of the machine. */
export class NodeHost implements Host {
  readonly book: Book;
  readonly metrics: Metrics;
  readonly random: Random;
  readonly #options: NodeHostOptions;
  readonly #codecs: Codecs;
  readonly #timers: Timers;
  readonly #protocols: Protocol[] = [];
  readonly #by_kind: (Protocol | undefined)[] = [];
  #running = false;

  constructor(options: NodeHostOptions) {
    this.#options = options;
    this.book = options.known.book;
    this.metrics = options.metrics;
    this.random = options.random;
    this.#codecs = new Codecs(options.known, options.codecs);
    this.#timers = new Timers(options.clock, (thrown) => this.#failed('a timer of the overlay', thrown));
    options.known.marks = (mark) => { for (const protocol of this.#protocols) protocol.marks?.(0, mark); };
  }

  get running(): boolean {
    return this.#running;
  }

  add<P extends Protocol>(protocol: P): P {
    this.#protocols.push(protocol);
    for (const kind of protocol.kinds) {
      if (this.#by_kind[kind] !== undefined) throw new Error(`two protocols for messages of kind ${kind}`);
      this.#by_kind[kind] = protocol;
    }
    return protocol;
  }

  start(seeds: readonly Peer[]): void {
    this.#running = true;
    for (const protocol of this.#protocols) protocol.start(0, seeds);
    this.#next(this.random.below(limits.cycle_ms));
  }

  /** Says goodbye; the frames are under way when this returns. */
  stop(): void {
    if (this.#running) for (const protocol of [...this.#protocols].reverse()) protocol.stop(0);
    this.#running = false;
    this.#timers.stop();
  }

  now_ms(): number {
    return this.#options.clock.monotonic_ms();
  }

  send(_self: number, to: Peer, message: Message): void {
    if (to === 0) return void this.#timers.add(0, () => this.#handle(0, message));
    const node = this.#options.known.descriptor(to)?.node;
    try {
      if (node === undefined || !this.#options.send(node, this.#codecs.encode(message))) this.metrics.add('host.unreachable');
    } catch (thrown) {
      if (!(thrown instanceof WireError) && !(thrown instanceof RangeError)) this.#failed(`a message of kind ${message.kind}`, thrown);
      this.metrics.add('host.not_sent');
    }
    recycle(message);
  }

  after(_self: number, delay_ms: number, what: () => void): number {
    return this.#timers.add(delay_ms, what);
  }

  cancel(handle: number): void {
    this.#timers.cancel(handle);
  }

  /** A frame of an authenticated node. Whatever is in it, this does not throw. */
  receive(node: string, frame: Uint8Array): void {
    const from = this.#options.known.find(node);
    if (from <= 0 || !this.#running) return;
    try {
      this.#handle(from, this.#codecs.decode(frame));
    } catch (thrown) {
      if (thrown instanceof WireError) this.metrics.add(`rejected.${thrown.reason}`);
      else this.#failed(`a message of node ${node}`, thrown);
    }
  }

  gone(peer: Peer, why: 'left' | 'dead'): void {
    for (const protocol of this.#protocols) protocol.onGone?.(0, peer, why);
  }

  changed(): void {
    if (this.#running) for (const protocol of this.#protocols) protocol.onChanged?.(0);
  }

  #handle(from: Peer, message: Message): void {
    this.metrics.add(`kind.${message.kind}`);
    if (this.#running) this.#by_kind[message.kind]?.onMessage(0, from, message);
    recycle(message);
  }

  #next(delay_ms: number): void {
    this.#timers.add(delay_ms, () => {
      this.#next(limits.cycle_ms);
      for (const protocol of this.#protocols) protocol.onCycle?.(0);
    });
  }

  /** A mistake in a protocol must not end xosd: it is told and counted, and the others go on. */
  #failed(what: string, thrown: unknown): void {
    this.metrics.add('host.failed');
    this.#options.log.error(`${what} failed`, { reason: describe(thrown), stack: thrown instanceof Error ? (thrown.stack ?? '').split('\n').slice(1, 4).join(' ') : '' });
  }
}

import { Book, Metrics, Packet, Random, Rows, nobody, packet_words, recycle, sizes, type Codec, type Host, type Message, type Peer, type Protocol } from '../overlay/core/index.ts';
import { Flight } from './flight.ts';
import { Heap, type Timed } from './heap.ts';
import { Links } from './links.ts';

export interface EngineOptions {
  /** Rows for nodes; a node that was started once keeps its row. */
  readonly capacity: number;
  readonly seed: number;
  readonly codecs?: readonly Codec[];
  readonly links?: Links;
  readonly cycle_ms?: number;
  /** Clocks run between 1 - drift and 1 + drift times as fast; 0: all the same. */
  readonly drift?: number;
}

interface Timer extends Timed {
  readonly self: number;
  readonly life: number;
  what: (() => void) | null;
}

const cycle_slot_ms = 10;
/** Rows whose cycle begins that are read ahead of time. */
const touched_rows = 16;

/**
 * Runs protocols for many nodes in simulated time: one thread, one seed, whole milliseconds. Within a millisecond first messages arrive,
 * then timers fire, then cycles begin, each in the order in which they were asked for; so a run is the same, bit by bit, for a seed.
 */
export class Engine implements Host {
  readonly book: Book;
  /** State of the row protocols. */
  readonly rows: Rows;
  readonly metrics = new Metrics();
  readonly random: Random;
  readonly links: Links;
  readonly capacity: number;
  readonly cycle_ms: number;
  /** 1 while the node runs. */
  readonly alive: Uint8Array;
  /** The site of each node, an index into the links' matrices. */
  readonly site: Uint8Array;
  /** Messages and bytes that were sent, by kind. */
  readonly messages = new Float64Array(256);
  readonly bytes = new Float64Array(256);
  readonly #protocols: Protocol[] = [];
  readonly #by_kind: (Protocol | undefined)[] = [];
  readonly #size: (message: Message) => number;
  readonly #flight = new Flight();
  readonly #timers = new Heap<Timer>();
  readonly #handles = new Map<number, Timer>();
  readonly #life: Uint16Array;
  readonly #rate: Float32Array | null;
  /** Nodes by the slot of their next cycle: lists linked through `next`. */
  readonly #next: Uint32Array;
  readonly #wheel: Uint32Array;
  /** Arrays by peer that every delivery of a list of peers reads. */
  touched: readonly Uint32Array[] = [];
  #touched_sum = 0;
  #now_ms = 0;
  #order = 0;
  #count = 0;

  constructor(options: EngineOptions) {
    this.capacity = options.capacity;
    this.rows = new Rows(options.capacity);
    this.random = new Random(options.seed);
    this.links = options.links ?? new Links();
    this.cycle_ms = options.cycle_ms ?? 10_000;
    this.book = new Book({ capacity: options.capacity, single: true });
    this.alive = new Uint8Array(options.capacity);
    this.site = new Uint8Array(options.capacity);
    this.#life = new Uint16Array(options.capacity);
    this.#size = sizes(options.codecs ?? []);
    this.#next = new Uint32Array(options.capacity).fill(nobody);
    this.#wheel = new Uint32Array(Math.ceil((this.cycle_ms / cycle_slot_ms) * 2)).fill(nobody);
    const drift = options.drift ?? 0;
    this.#rate = drift === 0 ? null : Float32Array.from({ length: options.capacity }, () => 1 - drift + 2 * drift * this.random.real());
  }

  /** Protocols hear of starts, cycles and ends in the order in which they were added. */
  add(protocol: Protocol): void {
    this.#protocols.push(protocol);
    for (const kind of protocol.kinds) {
      if (this.#by_kind[kind] !== undefined) throw new Error(`two protocols for messages of kind ${kind}`);
      this.#by_kind[kind] = protocol;
    }
  }

  /** Simulated time, the same for everybody. */
  get time_ms(): number {
    return this.#now_ms;
  }

  /** Nodes that run. */
  get count(): number {
    return this.#count;
  }

  get under_way(): number {
    return this.#flight.under_way;
  }

  now_ms(self: number): number {
    return this.#rate === null ? this.#now_ms : this.#now_ms * this.#rate[self]!;
  }

  /** The node's attributes must be in the Book. Its first cycle is at a random phase. */
  start(node: number, seeds: readonly Peer[]): void {
    if (this.alive[node] === 1) throw new Error(`node ${node} runs already`);
    this.rows.seal();
    this.alive[node] = 1;
    this.#count++;
    for (const protocol of this.#protocols) protocol.start(node, seeds);
    this.#plan(node, 1 + this.random.below(this.cycle_ms / cycle_slot_ms));
  }

  /** Ends a node in order: protocols say goodbye. */
  stop(node: number): void {
    for (const protocol of this.#protocols) if (this.alive[node] === 1) protocol.stop(node);
    this.crash(node);
  }

  /** Ends a node without a word. */
  crash(node: number): void {
    if (this.alive[node] === 0) return;
    this.alive[node] = 0;
    this.#life[node]!++;
    this.#count--;
  }

  #plan(node: number, slots: number): void {
    const slot = (Math.floor(this.#now_ms / cycle_slot_ms) + slots) % this.#wheel.length;
    this.#next[node] = this.#wheel[slot]!;
    this.#wheel[slot] = node;
  }

  send(self: number, to: Peer, message: Message): void {
    const bytes = this.#size(message);
    this.messages[message.kind]!++;
    this.bytes[message.kind]! += bytes;
    if (message instanceof Packet) message.pending++;
    const copies = this.links.duplicate > 0 && this.random.chance(this.links.duplicate) ? 2 : 1;
    if (copies === 2 && message instanceof Packet) message.pending++;
    for (let copy = 0; copy < copies; copy++) {
      const delay_ms = self === to ? 0 : this.links.delay(this.site[self]!, this.site[to]!, bytes, this.random);
      if (delay_ms < 0) recycle(message);
      else this.#flight.put(this.#now_ms, this.#now_ms + Math.max(1, Math.round(delay_ms)), self, to, message);
    }
  }

  after(self: number, delay_ms: number, what: () => void): number {
    const rate = this.#rate === null ? 1 : this.#rate[self]!;
    const timer: Timer = { at_ms: this.#now_ms + Math.max(1, Math.round(delay_ms / rate)), order: this.#order++, self, life: this.#life[self]!, what };
    this.#timers.push(timer);
    this.#handles.set(timer.order, timer);
    return timer.order;
  }

  cancel(handle: number): void {
    const timer = this.#handles.get(handle);
    if (timer === undefined) return;
    timer.what = null;
    this.#handles.delete(handle);
  }

  /** Tells the protocols of `self` a verdict about a peer. Called by the membership protocol's user. */
  gone(self: number, peer: Peer, why: 'left' | 'dead'): void {
    for (const protocol of this.#protocols) protocol.onGone?.(self, peer, why);
  }

  /** The attributes of a node were changed in the Book. */
  changed(node: number): void {
    this.book.changed(node);
    if (this.alive[node] === 1) for (const protocol of this.#protocols) protocol.onChanged?.(node);
  }

  /** Simulates `ms` more milliseconds. */
  run(ms: number): void {
    const end_ms = this.#now_ms + ms;
    while (this.#now_ms < end_ms) {
      this.#now_ms++;
      this.#flight.deliver(this.#now_ms, this.#touch, this.#hand);
      this.#fire();
      if (this.#now_ms % cycle_slot_ms === 0) this.#cycle();
    }
  }

  readonly #hand = (to: Peer, from: Peer, message: Message): void => {
    if (this.alive[to] === 1) this.#by_kind[message.kind]?.onMessage(to, from, message);
  };

  /** Reads a word of every cache line that deliveries will need; the sum keeps the compiler from leaving that out. Rows first: tight loops keep more reads under way. */
  readonly #touch = (to: Uint32Array, messages: readonly (Message | null)[], count: number): void => {
    for (let i = 0; i < count; i++) this.#touchRow(to[i]!);
    let sum = 0;
    for (let table = 0; table < this.touched.length; table++) {
      const keys = this.touched[table]!;
      for (let i = 0; i < count; i++) {
        const message = messages[i]!;
        if (!(message instanceof Packet)) continue;
        const { words } = message;
        // Only lists of peers: they begin with how many there are.
        const end = words[0]! < packet_words / 2 ? 2 * words[0]! : 0;
        for (let at = 1; at < end; at += 2) if (words[at]! < keys.length) sum += keys[words[at]!]!;
      }
    }
    this.#touched_sum = (this.#touched_sum + sum) | 0;
  };

  #touchRow(node: number): void {
    const { words, stride } = this.rows;
    let sum = this.alive[node]!;
    const base = node * stride;
    for (let at = base; at < base + stride; at += 16) sum += words[at]!;
    this.#touched_sum = (this.#touched_sum + sum) | 0;
  }

  #fire(): void {
    for (let timer = this.#timers.peek(); timer !== undefined && timer.at_ms <= this.#now_ms; timer = this.#timers.peek()) {
      this.#timers.pop();
      this.#handles.delete(timer.order);
      if (this.alive[timer.self] === 1 && this.#life[timer.self] === timer.life) timer.what?.();
    }
  }

  #cycle(): void {
    const slot = Math.floor(this.#now_ms / cycle_slot_ms) % this.#wheel.length;
    let node = this.#wheel[slot]!;
    let ahead = node;
    this.#wheel[slot] = nobody;
    for (let count = 0; node !== nobody; count++) {
      if (count % touched_rows === 0) for (let i = 0; i < touched_rows && ahead !== nobody; i++, ahead = this.#next[ahead]!) this.#touchRow(ahead);
      const next = this.#next[node]!;
      if (this.alive[node] === 1) {
        for (const protocol of this.#protocols) protocol.onCycle?.(node);
        this.#plan(node, Math.round(this.cycle_ms / cycle_slot_ms / (this.#rate === null ? 1 : this.#rate[node]!)));
      }
      node = next;
    }
  }
}

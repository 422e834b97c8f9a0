import { decodeDescriptor, memberValue, textValue, type AttributeValue, type Coordinates, type Descriptor, type Verifier } from './descriptor.ts';
import { limits } from './limits.ts';
import type { Metrics } from './metrics.ts';
import type { Peer } from './peer.ts';
import { WireError, type PeerCodec } from './wire.ts';

export interface BookOptions {
  /** Rows: limits.book_peers_max in xosd, the nodes in the simulator. Row 0 is the own node in xosd. */
  readonly capacity: number;
  /** Half the memory, 24 bits of precision: for the simulator. */
  readonly single?: boolean;
}

/** Told when a row is filled or changed: protocols compute keys from it. */
export type RowListener = (peer: Peer) => void;

/**
 * What is known of peers, column by column: attributes, coordinates. A Peer is a row. The simulator fills rows directly (`set`), with
 * nothing else kept; xosd fills them with `admit` from signed descriptors (KnownPeers below) and frees what no protocol holds.
 */
export class Book {
  readonly capacity: number;
  readonly #single: boolean;
  readonly #indexes = new Map<string, number>();
  /** Columns of the keys of RSS: never given to another name. */
  readonly #kept = new Set<string>();
  readonly #spare: number[] = [];
  readonly #columns: (Float32Array | Float64Array)[] = [];
  readonly #listeners: RowListener[] = [];
  /** Members of set-valued attributes, hashed (memberValue); undefined for most. */
  readonly #members = new Map<Peer, ReadonlySet<number>>();
  /** x, y, height, error of each row. */
  readonly coordinates: Float32Array;

  constructor(options: BookOptions) {
    this.capacity = options.capacity;
    this.#single = options.single ?? false;
    this.coordinates = new Float32Array(options.capacity * 4);
  }

  /** The number of a column, or -1. */
  find(name: string): number {
    return this.#indexes.get(name) ?? -1;
  }

  /** The number of a column, which is made when it is new, and kept; -1 when there are limits.columns_max already. */
  column(name: string): number {
    this.#kept.add(name);
    return this.#column(name);
  }

  #column(name: string): number {
    const known = this.#indexes.get(name);
    if (known !== undefined) return known;
    const index = this.#spare.pop() ?? this.#columns.length;
    if (index >= limits.columns_max) return -1;
    // A new array: who still looks at the old one, for another name, must not see these values.
    this.#columns[index] = (this.#single ? new Float32Array(this.capacity) : new Float64Array(this.capacity)).fill(Number.NaN);
    this.#indexes.set(name, index);
    return index;
  }

  /** Lets the columns go whose name is not in `borne`, so that new names find room. */
  release(borne: ReadonlySet<string>): void {
    for (const [name, index] of this.#indexes) {
      if (borne.has(name) || this.#kept.has(name)) continue;
      this.#indexes.delete(name);
      this.#spare.push(index);
    }
  }

  /** NaN when the peer does not have the attribute. Texts are textValue(text). */
  value(peer: Peer, column: number): number {
    return this.#columns[column]![peer]!;
  }

  values(column: number): Float32Array | Float64Array {
    return this.#columns[column]!;
  }

  hasMember(peer: Peer, member: number): boolean {
    return this.#members.get(peer)?.has(member) ?? false;
  }

  /** Fills a row from attributes; those not named become absent. Returns how many have no column, since there are too many names. */
  set(peer: Peer, attributes: Readonly<Record<string, AttributeValue>>, coordinates?: Coordinates): number {
    for (const column of this.#columns) column[peer] = Number.NaN;
    this.#members.delete(peer);
    const members = new Set<number>();
    let without = 0;
    for (const [name, value] of Object.entries(attributes)) {
      if (typeof value === 'object') {
        for (const member of value) members.add(memberValue(name, member));
        continue;
      }
      const column = this.#column(name);
      if (column < 0) without++;
      else this.#columns[column]![peer] = typeof value === 'number' ? value : textValue(value);
    }
    if (members.size > 0) this.#members.set(peer, members);
    if (coordinates !== undefined) this.coordinates.set([coordinates.x, coordinates.y, coordinates.height, coordinates.error], peer * 4);
    this.changed(peer);
    return without;
  }

  /** After columns were written directly. */
  changed(peer: Peer): void {
    for (const listener of this.#listeners) listener(peer);
  }

  listen(listener: RowListener): void {
    this.#listeners.push(listener);
  }
}

interface Known {
  readonly descriptor: Descriptor;
  readonly encoded: Uint8Array;
}

/**
 * The peers that one real node knows: verified descriptors by node id, over the rows of a Book. Bounded: when it is full, `sweep` frees
 * what no protocol marks, and while nothing can be freed a new peer is refused. Row 0 is the node itself.
 */
export class KnownPeers implements PeerCodec {
  readonly book: Book;
  readonly #rows = new Map<string, Peer>();
  readonly #known: (Known | null)[] = [];
  readonly #free: Peer[] = [];
  readonly #verifier: Verifier;
  readonly #metrics: Metrics;
  readonly #now_ms: () => number;
  #released_ms = Number.NEGATIVE_INFINITY;
  /** Set by the service: calls `mark` with all that protocols hold (Protocol.marks). */
  marks: (mark: (peer: Peer) => void) => void = () => undefined;

  constructor(book: Book, verifier: Verifier, metrics: Metrics, now_ms: () => number) {
    this.book = book;
    this.#verifier = verifier;
    this.#metrics = metrics;
    this.#now_ms = now_ms;
  }

  /** The own descriptor, row 0. */
  setOwn(encoded: Uint8Array): void {
    const { descriptor } = decodeDescriptor(encoded);
    this.#rows.set(descriptor.node, 0);
    this.#known[0] = { descriptor, encoded };
    this.book.set(0, descriptor.attributes, descriptor.coordinates);
  }

  get size(): number {
    return this.#rows.size;
  }

  /** The row of a node id, or -1. */
  find(node: string): Peer {
    return this.#rows.get(node) ?? -1;
  }

  descriptor(peer: Peer): Descriptor | null {
    return this.#known[peer]?.descriptor ?? null;
  }

  encoded(peer: Peer): Uint8Array {
    const known = this.#known[peer];
    if (known === undefined || known === null) throw new Error(`peer ${peer} is not in the book`);
    return known.encoded;
  }

  /** See PeerCodec. Refusals are counted as `rejected.<reason>`: malformed, oversized, truncated, stale, expired, forged, not_admitted, full. */
  admit(bytes: Uint8Array): Peer {
    try {
      return this.#admit(bytes);
    } catch (thrown) {
      if (!(thrown instanceof WireError)) throw thrown;
      return this.#refuse(thrown.reason);
    }
  }

  #admit(bytes: Uint8Array): Peer {
    const decoded = decodeDescriptor(bytes);
    const { descriptor } = decoded;
    const row = this.#rows.get(descriptor.node);
    const known = row === undefined ? null : this.#known[row]!;
    if (row !== undefined && known !== null) {
      if (Buffer.compare(known.encoded, bytes) === 0) return row;
      // What is older tells nothing new, but the peer is one we know and believe.
      if (descriptor.epoch <= known.descriptor.epoch) {
        this.#metrics.add('rejected.stale');
        return row;
      }
      // Nobody but we speaks for us.
      if (row === 0) return this.#refuse('forged');
    }
    const now_ms = this.#now_ms();
    if (descriptor.epoch > now_ms + limits.clock_ahead_ms) return this.#refuse('future');
    if (descriptor.epoch < now_ms - limits.descriptor_life_ms) return this.#refuse('expired');
    const verdict = this.#verifier.verify(decoded);
    if (verdict !== null) return this.#refuse(verdict);
    const taken = row ?? this.#take();
    if (taken < 0) return this.#refuse('full');
    this.#rows.set(descriptor.node, taken);
    this.#known[taken] = { descriptor, encoded: Uint8Array.from(bytes) };
    if (this.book.set(taken, descriptor.attributes, descriptor.coordinates) > 0) this.#makeRoom(taken, descriptor, now_ms);
    return taken;
  }

  /** There are more names of attributes than columns: those that nobody bears any more go. */
  #makeRoom(row: Peer, { attributes, coordinates }: Descriptor, now_ms: number): void {
    if (now_ms - this.#released_ms >= limits.columns_release_ms) {
      this.#released_ms = now_ms;
      this.book.release(new Set(this.#known.flatMap((known) => Object.keys(known?.descriptor.attributes ?? {}))));
    }
    const without = this.book.set(row, attributes, coordinates);
    if (without > 0) this.#metrics.add('rejected.attribute_names', without);
  }

  #refuse(reason: string): -1 {
    this.#metrics.add(`rejected.${reason}`);
    return -1;
  }

  #take(): Peer {
    if (this.#free.length === 0 && this.#known.length >= this.book.capacity) this.sweep();
    const free = this.#free.pop();
    if (free !== undefined) return free;
    if (this.#known.length === 0) this.#known.push(null);
    return this.#known.length < this.book.capacity ? this.#known.push(null) - 1 : -1;
  }

  /** Frees the rows that no protocol holds. */
  sweep(): void {
    const held = new Set<Peer>([0]);
    this.marks((peer) => held.add(peer));
    for (const [node, row] of this.#rows) {
      if (held.has(row)) continue;
      this.#rows.delete(node);
      this.#known[row] = null;
      this.#free.push(row);
    }
  }

  /** Nodes that are known and not ourselves, for the persisted view. */
  *all(): IterableIterator<{ readonly peer: Peer; readonly descriptor: Descriptor; readonly encoded: Uint8Array }> {
    for (const peer of this.#rows.values()) {
      const known = this.#known[peer];
      if (peer !== 0 && known != null) yield { peer, ...known };
    }
  }
}

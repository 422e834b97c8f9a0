import { kinds, nobody, packet, type Host, type KeyTable, type Message, type Packet, type Peer, type Protocol, type Rows } from '../core/index.ts';
import { listCodec, put, type Links, type Membership } from '../membership/index.ts';
import { limits } from './limits.ts';
import { LinkTable } from './link-table.ts';
import type { Space } from './space.ts';

const settled = 255;

const rowsByte = (rows: Rows, self: number, field: number, value: number): void => {
  rows.bytes[self * rows.stride * 4 + field] = value;
};

/**
 * The links of RSS by one key or several: once a cycle the table is exchanged with one link, what is most useful to the other goes there
 * and comes back (T-Man: Jelasity, Montresor, Babaoglu, 2009, on buckets as of Kademlia: Maymounkov, Mazieres, 2002).
 */
export class Overlay implements Protocol, Links, KeyTable {
  readonly name = 'rss';
  readonly kinds = [kinds.rss_exchange, kinds.rss_reply];
  static readonly codecs = [listCodec(kinds.rss_exchange, limits.exchange), listCodec(kinds.rss_reply, limits.exchange)];
  readonly tables: readonly LinkTable[];
  readonly #host: Host;
  readonly #membership: Membership;
  /** Whom the last exchange went to and who has not answered; nobody. */
  readonly #partner: number;
  /** Cycles of the row; tells whose turn it is. */
  readonly #turn: number;
  /** How near the last node was that this row asked on its way to its place, plus one; `settled` when it is there. */
  readonly #climbed: number;
  readonly #rows: Rows;

  constructor(host: Host, membership: Membership, spaces: readonly Space[], rows: Rows) {
    this.#host = host;
    this.#membership = membership;
    this.#rows = rows;
    this.#partner = rows.reserve(1);
    this.#turn = rows.reserveBytes(1);
    this.#climbed = rows.reserveBytes(1);
    this.tables = spaces.map((space) => new LinkTable(space, rows));
    membership.links = this;
  }

  start(self: number, seeds: readonly Peer[]): void {
    for (const table of this.tables) table.clear(self);
    this.#set(self, this.#partner, nobody);
    this.#setTurn(self, 0);
    rowsByte(this.#rows, self, this.#climbed, 0);
    for (const seed of seeds) if (seed !== self) this.offer(self, seed, 0);
  }

  #get(self: number, field: number): number {
    return this.#rows.words[self * this.#rows.stride + field]!;
  }

  #set(self: number, field: number, value: number): void {
    this.#rows.words[self * this.#rows.stride + field] = value;
  }

  #turnOf(self: number): number {
    return this.#rows.bytes[self * this.#rows.stride * 4 + this.#turn]!;
  }

  #setTurn(self: number, turn: number): void {
    this.#rows.bytes[self * this.#rows.stride * 4 + this.#turn] = turn;
  }

  stop(): void {
    // Membership says goodbye to all links.
  }

  heard(self: number, peer: Peer): void {
    for (const table of this.tables) table.heard(self, peer);
  }

  offer(self: number, peer: Peer, age: number): void {
    if (peer === self || age > limits.age_max_cycles) return;
    for (const table of this.tables) table.offer(self, peer, age);
  }

  weakest(self: number): Peer {
    return this.tables[this.#turnOf(self) % this.tables.length]!.oldest(self);
  }

  *all(self: number): IterableIterator<Peer> {
    const found: Peer[] = [];
    for (const table of this.tables) table.each(self, (peer) => found.push(peer));
    yield* found;
  }

  /** True in the first cycles of a row: its tables have gaps that it does not know of. */
  newcomer(self: number): boolean {
    return this.#turnOf(self) < limits.walk_after_cycles;
  }

  high(peer: Peer): number {
    return this.tables[0]!.space.high[peer]!;
  }

  low(peer: Peer): number {
    return this.tables[0]!.space.low[peer]!;
  }

  closest(self: number, high: number, low: number, count: number): Peer[] {
    const found: Peer[] = [self];
    this.tables[0]!.each(self, (peer) => found.push(peer));
    const distance = (peer: Peer): number => ((this.high(peer) ^ high) >>> 0) * 2 ** 32 + ((this.low(peer) ^ low) >>> 0);
    return found.sort((a, b) => distance(a) - distance(b)).slice(0, count);
  }

  suspect(self: number, peer: Peer): void {
    for (const table of this.tables) table.silent(self, peer);
  }

  marks(self: number, mark: (peer: Peer) => void): void {
    for (const peer of this.all(self)) mark(peer);
  }

  onGone(self: number, peer: Peer): void {
    for (const table of this.tables) table.remove(self, peer);
  }

  onChanged(self: number): void {
    for (const table of this.tables) if (!table.fits(self)) this.rebuild(self, table);
  }

  /** The keys of a table have changed: the row is a newcomer in that space, who knows many already. */
  rebuild(self: number, table: LinkTable): void {
    table.rebuild(self);
    this.#setTurn(self, 0);
    rowsByte(this.#rows, self, this.#climbed, 0);
  }

  onCycle(self: number): void {
    const silent = this.#get(self, this.#partner);
    if (silent !== nobody) this.suspect(self, silent);
    for (const table of this.tables) table.grow(self);
    // From 255 back to where a row is no beginner any more.
    const turn = this.#turnOf(self) === 255 ? limits.eager_cycles * 2 : this.#turnOf(self) + 1;
    this.#setTurn(self, turn);
    const table = this.tables[turn % this.tables.length]!;
    const partner = this.#choose(self, table, turn);
    this.#set(self, this.#partner, partner);
    if (partner !== nobody) this.#send(self, partner, table, kinds.rss_exchange);
    if (turn >= limits.eager_cycles) return;
    const more = this.#near(self, table);
    if (more !== nobody && more !== partner) this.#send(self, more, table, kinds.rss_exchange);
  }

  /** In turns somebody near, who knows our neighbours, and whoever was not heard of for longest. */
  #choose(self: number, table: LinkTable, turn: number): Peer {
    const buckets = table.buckets(self);
    if (buckets === 0) return this.#membership.any(self);
    if ((turn & (turn < limits.eager_cycles ? 3 : 1)) === 0) return table.oldest(self);
    return this.#near(self, table);
  }

  /** One of the nearest, who know our other neighbours. */
  #near(self: number, table: LinkTable): Peer {
    const { random } = this.#host;
    const buckets = table.buckets(self);
    if (buckets === 0) return nobody;
    const place = buckets - 1 - random.below(Math.min(3, buckets));
    const first = random.below(limits.bucket);
    for (let slot = first; slot >= 0; slot--) if (table.at(self, place, slot) !== nobody) return table.at(self, place, slot);
    return nobody;
  }

  onMessage(self: number, from: Peer, message: Message): void {
    const { words } = message as Packet;
    this.heard(self, from);
    if (message.kind === kinds.rss_exchange) {
      this.#send(self, from, this.tables[this.#turnOf(self) % this.tables.length]!, kinds.rss_reply);
    } else if (this.#get(self, this.#partner) === from) this.#set(self, this.#partner, nobody);
    this.#take(self, from, words);
    if (message.kind === kinds.rss_reply && this.#rows.bytes[self * this.#rows.stride * 4 + this.#climbed] !== settled) this.#climb(self);
  }

  /** A newcomer goes on at once to the nearest node it has heard of, until none is nearer; then it shows itself to all neighbours. */
  #climb(self: number): void {
    const climbed = this.#rows.bytes[self * this.#rows.stride * 4 + this.#climbed]!;
    for (const table of this.tables) {
      const buckets = table.buckets(self);
      if (buckets === 0) return;
      const nearest = table.level(self, buckets - 1) + 1;
      if (this.tables.length === 1 && nearest > climbed) {
        rowsByte(this.#rows, self, this.#climbed, nearest);
        return this.#send(self, table.at(self, buckets - 1, 0), table, kinds.rss_exchange);
      }
      rowsByte(this.#rows, self, this.#climbed, settled);
      for (let place = Math.max(0, buckets - limits.neighbour_buckets); place < buckets; place++) {
        for (let slot = 0; slot < limits.bucket && table.at(self, place, slot) !== nobody; slot++) this.#send(self, table.at(self, place, slot), table, kinds.rss_exchange);
      }
    }
  }

  #take(self: number, from: Peer, words: Uint32Array): void {
    for (let i = 0; i < words[0]!; i++) {
      const peer = words[1 + 2 * i]!;
      if (peer !== from && !this.#membership.gone(self, peer)) this.offer(self, peer, words[2 + 2 * i]!);
    }
  }

  /** What the other can use best: ourselves, those nearer to it than we are, then those who are as far from it as from us. */
  #send(self: number, to: Peer, table: LinkTable, kind: number): void {
    const message = packet(kind);
    message.words[0] = 0;
    put(message, self, 0);
    const level = table.space.common(self, to);
    const there = table.rank(self, Math.min(level, 63));
    const buckets = table.buckets(self);
    const { random } = this.#host;
    const next = level <= 63 && table.has(self, level) ? there + 1 : there;
    if (next > there) this.#putBucket(self, to, table, there, message, limits.bucket);
    if (next < buckets) this.#putBucket(self, to, table, next + random.below(buckets - next), message, 2);
    const nearer = Math.max(0, there - 2);
    for (let place = there - 1; place >= nearer; place--) this.#putBucket(self, to, table, place, message, limits.bucket);
    for (let tries = 0; nearer > 0 && tries < 4; tries++) this.#putBucket(self, to, table, random.below(nearer), message, 1);
    while (message.words[0]! < limits.exchange) {
      const any = this.#membership.any(self);
      if (any === nobody) break;
      put(message, any, this.#membership.ageOf(self, any));
    }
    this.#host.send(self, to, message);
  }

  #putBucket(self: number, to: Peer, table: LinkTable, place: number, message: Packet, most: number): void {
    const first = most === limits.bucket ? 0 : this.#host.random.below(limits.bucket);
    for (let i = 0, sent = 0; i < limits.bucket && sent < most; i++) {
      if (message.words[0]! >= limits.exchange) return;
      const slot = (first + i) % limits.bucket;
      const peer = table.at(self, place, slot);
      if (peer === nobody || peer === to) continue;
      put(message, peer, table.age(self, place, slot));
      sent++;
    }
  }
}

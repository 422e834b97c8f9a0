import { kinds, type Codec, type Host, type Message, type Peer, type Protocol, type Rows } from '../core/index.ts';
import type { Membership } from '../membership/index.ts';
import { limits } from './limits.ts';
import type { Overlay } from './overlay.ts';
import { quantileCuts, type Cuts, type Space } from './space.ts';

/** Cuts of one key, or (without them) the version that the sender has. */
export interface CutsMessage extends Message {
  readonly kind: typeof kinds.rss_cuts;
  readonly key: number;
  readonly version: number;
  readonly cuts: Cuts | null;
}

const codec: Codec<CutsMessage> = {
  kind: kinds.rss_cuts,
  encode({ key, version, cuts }, writer) {
    writer.u8(key).u32(version).u8(cuts === null ? 0 : cuts.length);
    for (const list of cuts ?? []) {
      writer.u16(list.length);
      for (const cut of list) writer.f64(cut);
    }
  },
  decode(reader) {
    const key = reader.u8();
    const version = reader.u32();
    const dimensions = reader.u8();
    if (dimensions > limits.key_attributes_max) throw reader.malformed(`cuts of ${dimensions} attributes`);
    if (dimensions === 0) return { kind: kinds.rss_cuts, key, version, cuts: null };
    const cuts = Array.from({ length: dimensions }, () => Array.from({ length: reader.count(limits.cuts_max) }, () => reader.f64()));
    // Not finite ones would be in no order with any value.
    if (cuts.some((list) => list.some((cut, i) => !Number.isFinite(cut) || (i > 0 && cut < list[i - 1]!)))) throw reader.malformed('cuts that do not ascend');
    return { kind: kinds.rss_cuts, key, version, cuts };
  },
  size: ({ cuts }) => 6 + (cuts ?? []).reduce((bytes, list) => bytes + 2 + 8 * list.length, 0),
};

/**
 * Cells that follow the nodes: now and then some node (which one is chance, and the more nodes there are the less likely is each) takes
 * the peers that come by as a sample. Where a cell of the present cuts has far too many of them, it publishes their quantiles as new
 * cuts. The greatest version wins, spreads from node to node, and is compared with a neighbour's every now and then.
 */
export class Learner implements Protocol {
  readonly name = 'cuts';
  readonly kinds = [kinds.rss_cuts];
  static readonly codecs: readonly Codec[] = [codec];
  readonly #host: Host;
  readonly #membership: Membership;
  readonly #overlay: Overlay;
  /** The row has taken these cuts: the wiring sets them in the Space and lets tables be rebuilt. */
  readonly #adopted: (self: number, key: number, version: number, cuts: Cuts) => void;
  readonly #rows: Rows;
  /** Offset of a word for each key: the version that the row has. */
  readonly #versions: number;
  /** Cuts by version, and the samples of those that sample now; few at a time. */
  readonly #known = new Map<number, Cuts>();
  readonly #samples = new Map<number, Set<Peer>>();

  constructor(host: Host, membership: Membership, overlay: Overlay, rows: Rows, adopted: (self: number, key: number, version: number, cuts: Cuts) => void) {
    this.#host = host;
    this.#membership = membership;
    this.#overlay = overlay;
    this.#adopted = adopted;
    this.#rows = rows;
    this.#versions = rows.reserve(overlay.tables.length);
  }

  start(self: number, seeds: readonly Peer[]): void {
    for (let key = 0; key < this.#overlay.tables.length; key++) {
      this.#setVersion(self, key, 0);
      if (seeds[0] !== undefined && seeds[0] !== self) this.#tell(self, seeds[0], key);
    }
  }

  stop(self: number): void {
    this.#samples.delete(self);
  }

  version(self: number, key: number): number {
    return this.#rows.words[self * this.#rows.stride + this.#versions + key]!;
  }

  #setVersion(self: number, key: number, version: number): void {
    this.#rows.words[self * this.#rows.stride + this.#versions + key] = version;
  }

  onCycle(self: number): void {
    const { random } = this.#host;
    const key = random.below(this.#overlay.tables.length);
    if (random.below(limits.cuts_compare_cycles) === 0) this.#tell(self, this.#membership.any(self), key);
    const sample = this.#samples.get(self);
    if (sample === undefined) {
      const nodes = 2 ** this.#overlay.tables[key]!.buckets(self);
      if (random.chance(1 / (nodes * limits.cuts_sample_cycles))) this.#samples.set(self, new Set([self]));
      return;
    }
    for (const { peer } of this.#membership.view(self)) sample.add(peer);
    // Links would be a biased sample: most of them are neighbours.
    if (sample.size < limits.cuts_sample && random.below(limits.cuts_give_up_cycles) !== 0) return;
    this.#samples.delete(self);
    if (sample.size < limits.cuts_sample / 4) return;
    this.#overlay.tables.forEach((table, each) => this.#publish(self, each, table.space, [...sample]));
  }

  #publish(self: number, key: number, space: Space, sample: readonly Peer[]): void {
    const columns = space.columns.map((column) => Float64Array.from(sample, (peer) => this.#host.book.value(peer, column)));
    if (!columns.some((values, dimension) => crowded(space, dimension, values))) return;
    const generation = (this.version(self, key) >>> 16) + 1;
    if (generation > 0xffff) return;
    this.#host.metrics.add('rss.cuts_published');
    this.#adopt(self, key, ((generation << 16) | this.#host.random.below(0x10000)) >>> 0, columns.map((values) => quantileCuts(values, space.bits)));
  }

  #adopt(self: number, key: number, version: number, cuts: Cuts): void {
    this.#setVersion(self, key, version);
    this.#known.set(version, cuts);
    if (this.#known.size > limits.cuts_known_max) this.#known.delete(this.#known.keys().next().value!);
    this.#adopted(self, key, version, cuts);
    for (let i = 0; i < limits.cuts_fan_out; i++) this.#tell(self, this.#membership.any(self), key);
  }

  /** Sends what the row has: the cuts, or that it has none. */
  #tell(self: number, to: Peer, key: number): void {
    if (to === self || to > 0xffff_fffe) return;
    const version = this.version(self, key);
    const message: CutsMessage = { kind: kinds.rss_cuts, key, version, cuts: this.#known.get(version) ?? null };
    this.#host.send(self, to, message);
  }

  onMessage(self: number, from: Peer, message: Message): void {
    const { key, version, cuts } = message as CutsMessage;
    const table = this.#overlay.tables[key];
    if (table === undefined) return this.#host.metrics.add('rejected.unknown_key');
    const mine = this.version(self, key);
    if (version < mine) return this.#tell(self, from, key);
    if (version === mine || cuts === null) return;
    const fits = cuts.length === table.space.dimensions && cuts.every((list) => list.length === (1 << table.space.bits) - 1);
    // Generations go up one by one: who skips many wants to have the last word for ever.
    if (!fits || (mine > 0 && (version >>> 16) - (mine >>> 16) > limits.cuts_skip_max)) return this.#host.metrics.add('rejected.cuts');
    this.#adopt(self, key, version, cuts);
  }
}

/** Whether one of eight equal parts of the cells holds more than twice its share, though its values differ. */
function crowded(space: Space, dimension: number, values: Float64Array): boolean {
  const parts = Array.from({ length: 8 }, () => ({ count: 0, low: Number.POSITIVE_INFINITY, high: Number.NEGATIVE_INFINITY }));
  for (const value of values) {
    if (Number.isNaN(value)) continue;
    const part = parts[space.cell(dimension, value) >> (space.bits - 3)]!;
    part.count++;
    part.low = Math.min(part.low, value);
    part.high = Math.max(part.high, value);
  }
  return parts.some(({ count, low, high }) => count > values.length / 4 && low < high);
}

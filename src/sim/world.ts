import { type Peer } from '../overlay/core/index.ts';
import { Membership } from '../overlay/membership/index.ts';
import { Learner, Overlay, Search, Space, Vivaldi, range, type Query } from '../overlay/rss/index.ts';
import { Engine } from './engine.ts';
import { Links, type LinksOptions } from './links.ts';

export interface WorldOptions {
  readonly nodes: number;
  /** Rows for nodes that join later. */
  readonly more?: number;
  readonly seed: number;
  readonly links?: LinksOptions;
  readonly drift?: number;
  /** `uniform`: each attribute is uniform in [0, 1); `skewed`: nine nodes of ten have it in [0, 0.1). */
  readonly attributes?: 'uniform' | 'skewed';
  /** The keys: how many of the five attributes each takes, in order. Default one with all. */
  readonly keys?: readonly (readonly string[])[];
  /** Learn cuts (default: begin with cuts that suit uniform attributes, and stay there). */
  readonly learn?: boolean;
  /** Keep network coordinates. */
  readonly coordinates?: boolean;
}

export const attributes = ['cores', 'memory', 'disk', 'clock', 'network'] as const;
const crowd = 0.1;
const crowded_share = 0.9;

/** The overlay of src/overlay on the engine: nodes with attributes and sites, protocols wired as xosd does. */
export class World {
  readonly engine: Engine;
  readonly membership: Membership;
  readonly overlay: Overlay;
  readonly search: Search;
  readonly options: WorldOptions;
  /** Whom a node finds on its disk when it is isolated; the first three nodes where nothing is said. */
  readonly seeds = new Map<number, readonly Peer[]>();
  readonly #vivaldi: Vivaldi | null;
  /** Rows that have had a node: new ones come after. */
  #used = 0;
  /** Nodes whose row has the newest cuts; the Space, which all share here, follows when half of them have. */
  readonly #adopted = new Map<number, number>();

  constructor(options: WorldOptions) {
    this.options = options;
    const capacity = options.nodes + (options.more ?? 0);
    this.engine = new Engine({
      capacity, seed: options.seed, links: new Links(options.links), drift: options.drift ?? 0,
      codecs: [...Membership.codecs, ...Overlay.codecs, ...Search.codecs, ...Learner.codecs],
    });
    const { engine } = this;
    for (const name of attributes) engine.book.column(name);
    const spaces = (options.keys ?? [attributes]).map((names) => new Space(engine.book, { attributes: names }));
    engine.touched = spaces.map((space) => space.high);
    this.#vivaldi = options.coordinates === true ? new Vivaldi(engine) : null;
    this.membership = new Membership(engine, {
      rows: engine.rows, fallback: (self) => this.seeds.get(self) ?? [0, 1, 2], verdict: (self, peer, why) => engine.gone(self, peer, why),
      roundTrip: (self, ms, peer) => this.#vivaldi?.measured(self, ms, peer),
    });
    this.overlay = new Overlay(engine, this.membership, spaces, engine.rows);
    this.search = new Search(engine, this.overlay);
    engine.add(this.membership);
    engine.add(this.overlay);
    engine.add(this.search);
    if (options.learn === true) engine.add(new Learner(engine, this.membership, this.overlay, engine.rows, (self, key, version, cuts) => this.#adopt(self, key, version, cuts)));
    this.#place(spaces);
  }

  #place(spaces: readonly Space[]): void {
    const { engine } = this;
    for (let node = 0; node < engine.capacity; node++) {
      for (let column = 0; column < attributes.length; column++) engine.book.values(column)[node] = this.value(engine.random.real());
      engine.site[node] = engine.random.below(engine.links.sites);
    }
    const even = attributes.map(() => Array.from({ length: 256 }, (_, i) => (i + 1) / 256));
    for (const space of spaces) {
      const cells = 1 << space.bits;
      space.setCuts(0, space.spec.attributes.map((_, i) => Array.from({ length: cells - 1 }, (__, cut) => even[i]![((cut + 1) * 256) / cells - 1]!)));
    }
  }

  /** The value at a quantile (0 to 1) of the attributes' distribution. */
  value(quantile: number): number {
    if (this.options.attributes !== 'skewed') return quantile;
    return quantile < crowded_share ? (quantile / crowded_share) * crowd : crowd + ((quantile - crowded_share) / (1 - crowded_share)) * (1 - crowd);
  }

  #adopt(_self: number, key: number, version: number, cuts: readonly (readonly number[])[]): void {
    const count = (this.#adopted.get(version) ?? 0) + 1;
    this.#adopted.set(version, count);
    const table = this.overlay.tables[key]!;
    if (count < this.engine.count / 2 || version <= table.space.version) return;
    table.space.setCuts(version, cuts);
    for (let node = 0; node < this.#used; node++) if (this.engine.alive[node] === 1) this.overlay.rebuild(node, table);
  }

  /** Starts a node in a new row, with one living node as its seed. False when there is no row left. */
  join(): boolean {
    if (this.#used >= this.engine.capacity) return false;
    const seeds = this.engine.count === 0 ? [] : [this.living()];
    const node = this.#used++;
    this.#vivaldi?.start(node);
    this.engine.start(node, seeds);
    return true;
  }

  /** A random living node. */
  living(): Peer {
    for (;;) {
      const node = this.engine.random.below(this.#used);
      if (this.engine.alive[node] === 1) return node;
    }
  }

  /** One cycle in which nodes join and die evenly: `joins` and `deaths` of them in all, a share `leaves` of the deaths with a goodbye. */
  cycle(events: { readonly joins?: number; readonly deaths?: number; readonly leaves?: number; readonly each?: (part: number) => void } = {}): void {
    const parts = 100;
    const portion = (total: number, part: number): number => Math.floor((total * (part + 1)) / parts) - Math.floor((total * part) / parts);
    for (let part = 0; part < parts; part++) {
      for (let deaths = portion(events.deaths ?? 0, part); deaths > 0 && this.engine.count > 2; deaths--) {
        if (this.engine.random.chance(events.leaves ?? 0)) this.engine.stop(this.living());
        else this.engine.crash(this.living());
      }
      for (let joins = portion(events.joins ?? 0, part); joins > 0; joins--) this.join();
      events.each?.(part);
      this.engine.run(this.engine.cycle_ms / parts);
    }
  }

  /** A query that a share `selectivity` of the nodes match: a range of equal share on each attribute, at random places. */
  query(selectivity: number): Query {
    const side = selectivity ** (1 / attributes.length);
    return {
      constraints: attributes.map((name) => {
        const low = this.engine.random.real() * (1 - side);
        return range(name, this.value(low), this.value(low + side));
      }),
    };
  }

  /** A number that stands for the whole state: equal for equal runs. */
  digest(): number {
    let hash = this.engine.count ^ this.engine.random.word();
    for (const word of this.engine.rows.words) hash = Math.imul(hash ^ word, 0x01000193);
    return hash >>> 0;
  }
}

import type { Random } from '../overlay/core/index.ts';

/** The network between the sites of a simulation. Matrices are [from][to]; a missing one means the default everywhere. */
export interface LinksOptions {
  readonly sites?: number;
  /** One way, milliseconds. Default: 1 within a site, else 2 and the distance of places on a disc of 60 ms radius. */
  readonly latency_ms?: readonly (readonly number[])[];
  /** Bytes a second of one message's way; 0 or missing: no limit. */
  readonly bandwidth?: readonly (readonly number[])[];
  /** Up to this much more, uniform; as a share of the latency. Default 0.2. */
  readonly jitter?: number;
  /** Probabilities of a message to be lost, doubled, or held back by `reorder_ms`. */
  readonly loss?: number;
  readonly duplicate?: number;
  readonly reorder?: number;
  readonly reorder_ms?: number;
}

/** Decides for each message when it arrives, or that it does not. */
export class Links {
  readonly sites: number;
  readonly #latency: Float64Array;
  readonly #per_byte: Float64Array;
  readonly #jitter: number;
  readonly #reorder: number;
  readonly #reorder_ms: number;
  loss: number;
  duplicate: number;
  /** Sites in different groups do not hear each other; null: no partition. */
  #groups: Uint8Array | null = null;

  constructor(options: LinksOptions = {}) {
    const sites = options.sites ?? options.latency_ms?.length ?? 16;
    this.sites = sites;
    this.#latency = new Float64Array(sites * sites);
    this.#per_byte = new Float64Array(sites * sites);
    for (let from = 0; from < sites; from++) {
      for (let to = 0; to < sites; to++) {
        this.#latency[from * sites + to] = options.latency_ms?.[from]?.[to] ?? (from === to ? 1 : 2 + distance(from, to, sites));
        const bandwidth = options.bandwidth?.[from]?.[to] ?? 0;
        this.#per_byte[from * sites + to] = bandwidth > 0 ? 1_000 / bandwidth : 0;
      }
    }
    this.#jitter = options.jitter ?? 0.2;
    this.loss = options.loss ?? 0;
    this.duplicate = options.duplicate ?? 0;
    this.#reorder = options.reorder ?? 0;
    this.#reorder_ms = options.reorder_ms ?? 500;
  }

  /** Splits the sites into groups (`groups[site]`), or heals with null. */
  partition(groups: readonly number[] | null): void {
    this.#groups = groups === null ? null : Uint8Array.from(groups);
  }

  /** Milliseconds until arrival, or -1: lost. */
  delay(from: number, to: number, bytes: number, random: Random): number {
    if (this.#groups !== null && this.#groups[from] !== this.#groups[to]) return -1;
    if (this.loss > 0 && random.chance(this.loss)) return -1;
    const at = from * this.sites + to;
    const latency = this.#latency[at]!;
    const late = this.#reorder > 0 && random.chance(this.#reorder) ? this.#reorder_ms * random.real() : 0;
    return latency + latency * this.#jitter * random.real() + bytes * this.#per_byte[at]! + late;
  }

  /** One way on average, for judging coordinates. */
  latency_ms(from: number, to: number): number {
    return this.#latency[from * this.sites + to]! * (1 + this.#jitter / 2);
  }
}

const radius_ms = 60;
const golden_angle = Math.PI * (3 - Math.sqrt(5));

/** Sites lie on a sunflower's spiral: as even as it gets, for any number of them. */
function distance(one: number, other: number, sites: number): number {
  const place = (site: number): readonly [number, number] => {
    const radius = radius_ms * Math.sqrt((site + 0.5) / sites);
    return [radius * Math.cos(site * golden_angle), radius * Math.sin(site * golden_angle)];
  };
  const [x1, y1] = place(one);
  const [x2, y2] = place(other);
  return Math.hypot(x1 - x2, y1 - y2);
}

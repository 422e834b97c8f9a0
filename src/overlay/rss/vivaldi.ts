import type { Host } from '../core/index.ts';

/** The share of an error that one measurement corrects at most: with 0.25, as in the paper, coordinates of nodes that probe twice in ten seconds take half an hour. */
const gain = 0.75;
const error_gain = 0.25;
const height_min_ms = 0.1;
/** A measurement beyond this is a stall, not a distance. */
const round_trip_max_ms = 5_000;

/**
 * Network coordinates: a point of a plane and a height, in milliseconds, pulled and pushed by every round trip that is measured
 * (Vivaldi: Dabek, Cox, Kaashoek, Morris, SIGCOMM 2004). They live in the Book's row of the node and travel with its descriptor.
 */
export class Vivaldi {
  readonly #host: Host;

  constructor(host: Host) {
    this.#host = host;
  }

  /** At nowhere in particular, with no confidence. */
  start(self: number): void {
    const { random, book } = this.#host;
    book.coordinates.set([random.real(), random.real(), height_min_ms, 1], self * 4);
  }

  /** `peer`: x, y, height, error of whom the round trip went to. Nonsense is dropped and counted: false. */
  measured(self: number, round_trip_ms: number, peer: ArrayLike<number>): boolean {
    const { coordinates } = this.#host.book;
    const at = self * 4;
    const [x, y, height, error] = [peer[0]!, peer[1]!, peer[2]!, Math.min(1, peer[3]!)];
    const plausible = [x, y, height].every((value) => Math.abs(value) < round_trip_max_ms) && height >= 0 && error >= 0;
    if (!plausible || !(round_trip_ms >= 0) || round_trip_ms > round_trip_max_ms) {
      this.#host.metrics.add('rejected.coordinates');
      return false;
    }
    const ms = Math.max(height_min_ms, round_trip_ms);
    let dx = coordinates[at]! - x;
    let dy = coordinates[at + 1]! - y;
    let length = Math.hypot(dx, dy);
    const foretold = length + coordinates[at + 2]! + height;
    if (length < 1e-3) {
      const angle = 2 * Math.PI * this.#host.random.real();
      [dx, dy, length] = [Math.cos(angle), Math.sin(angle), 1];
    }
    const mine = coordinates[at + 3]!;
    const weight = mine / Math.max(1e-6, mine + error);
    const wrong = Math.abs(foretold - ms) / ms;
    coordinates[at + 3] = Math.min(1, Math.max(0.01, wrong * error_gain * weight + mine * (1 - error_gain * weight)));
    const force = gain * weight * (ms - foretold);
    coordinates[at]! += (force * dx) / length;
    coordinates[at + 1]! += (force * dy) / length;
    coordinates[at + 2] = Math.max(height_min_ms, coordinates[at + 2]! + force * Math.min(1, (coordinates[at + 2]! + height) / Math.max(foretold, 1)));
    return true;
  }
}

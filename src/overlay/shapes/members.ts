import type { Peer } from '../core/peer.ts';
import { limits } from './limits.ts';
import type { Entry } from './messages.ts';
import type { Shape } from './shape.ts';

interface Known {
  readonly peer: Peer;
  readonly position: number;
  /** Of the position, from our own. */
  readonly distance: number;
  /** Places beside it that are ours when none of these positions is taken. */
  readonly unless: readonly (readonly number[])[];
  age: number;
  /** Offers that were not answered. */
  tries: number;
}

/** What one member knows of the others of its instance: those near it, and a few at every scale of distance. Pure. */
export class Members {
  readonly position: number;
  readonly #self: Peer;
  readonly #shape: Shape;
  readonly #places: readonly (readonly number[])[];
  readonly #known = new Map<Peer, Known>();
  readonly #at = new Map<number, Known>();
  readonly #buried = new Map<Peer, number>();
  #neighbours: readonly Entry[] | null = null;

  constructor(self: Peer, position: number, shape: Shape) {
    this.#self = self;
    this.position = position;
    this.#shape = shape;
    this.#places = shape.places(position);
  }

  get size(): number {
    return this.#known.size;
  }

  all(): Iterable<Entry> {
    return this.#known.values();
  }

  /** One round is over. */
  grow(): void {
    for (const each of this.#known.values()) if (++each.age > limits.age_max_rounds) this.#drop(each);
    for (const [peer, rounds] of this.#buried) {
      if (rounds <= 1) this.#buried.delete(peer);
      else this.#buried.set(peer, rounds - 1);
    }
  }

  /** The peer itself said that it is there. */
  heard(peer: Peer): void {
    this.#buried.delete(peer);
    const known = this.#known.get(peer);
    if (known !== undefined) known.age = known.tries = 0;
  }

  /** Takes what others told. Of two that claim one position the one that was heard of later has it. */
  merge(entries: readonly Entry[]): void {
    for (const { peer, position, age } of entries) {
      if (peer === this.#self || position === this.position || position >= this.#shape.size || age > limits.age_max_rounds || this.#buried.has(peer)) continue;
      const known = this.#known.get(peer);
      const rival = this.#at.get(position);
      if (known !== undefined && known.position === position) known.age = Math.min(known.age, age);
      else if (rival === undefined || rival.age > age) {
        for (const other of [known, rival]) if (other !== undefined) this.#drop(other);
        this.#add(peer, position, age);
      }
    }
    if (this.#known.size > limits.known_max) this.#trim();
  }

  asked(peer: Peer): void {
    const known = this.#known.get(peer);
    if (known !== undefined && ++known.tries > limits.tries_max) this.bury(peer);
  }

  bury(peer: Peer): void {
    const known = this.#known.get(peer);
    if (known !== undefined) this.#drop(known);
    this.#buried.set(peer, limits.buried_rounds);
  }

  /** The nearest to a position, nearest first. */
  near(position: number, count: number): readonly Entry[] {
    const { distance } = this.#shape;
    const best: Known[] = [];
    const distances: number[] = [];
    for (const each of this.#known.values()) {
      const far = distance(each.position, position);
      let at = best.length;
      if (at >= count && far >= distances[count - 1]!) continue;
      while (at > 0 && distances[at - 1]! > far) at--;
      best.splice(at, 0, each);
      distances.splice(at, 0, far);
      if (best.length > count) [best.length, distances.length] = [count, count];
    }
    return best;
  }

  /** The members that take the places beside this one, as far as they are known. */
  neighbours(): readonly Entry[] {
    this.#neighbours ??= this.#find();
    return this.#neighbours;
  }

  #find(): readonly Entry[] {
    if (this.#shape.nearest > 0) return [...this.near(this.position, this.#shape.nearest)].sort((a, b) => a.position - b.position);
    const found = new Set<Known>();
    for (const place of this.#places) {
      const taken = this.#first(place);
      if (taken !== null) found.add(taken);
    }
    // Whoever takes this one for its neighbour is one too: over a hole in a tree the children of a dead child.
    for (const each of this.#known.values()) if (each.unless.some((others) => others.every((position) => !this.#at.has(position)))) found.add(each);
    return [...found].sort((a, b) => a.position - b.position);
  }

  /** Positions at which somebody better might be: before the one that takes a place now. */
  wanted(): readonly number[] {
    return this.#places.flatMap((place) => {
      const taken = this.#first(place);
      // Of a place that nobody takes any position may be the one that lives: several dead ones in a row are possible.
      return taken === null ? place.slice(0, limits.detour_max) : place.slice(0, place.indexOf(taken.position));
    });
  }

  #first(place: readonly number[]): Known | null {
    for (const position of place) {
      const found = this.#at.get(position);
      if (found !== undefined) return found;
    }
    return null;
  }

  #add(peer: Peer, position: number, age: number): void {
    const unless = this.#shape.places(position).flatMap((place) => (place.indexOf(this.position) > 0 ? [place.slice(0, place.indexOf(this.position))] : []));
    const known: Known = { peer, position, age, tries: 0, distance: this.#shape.distance(position, this.position), unless };
    this.#known.set(peer, known);
    this.#at.set(position, known);
    this.#neighbours = null;
  }

  #drop(known: Known): void {
    this.#known.delete(known.peer);
    if (this.#at.get(known.position) === known) this.#at.delete(known.position);
    this.#neighbours = null;
  }

  /**
   * Keeps the nearest, those that take a place or are the nearest to a free one, and a few of every scale of distance: they lead quickly to
   * far positions.
   */
  #trim(): void {
    const kept = new Set<Entry>(this.neighbours());
    for (const position of this.wanted()) for (const each of this.near(position, limits.near_wanted_max)) kept.add(each);
    const by_distance = [...this.#known.values()].sort((a, b) => a.distance - b.distance || a.age - b.age);
    const scales = new Map<number, number>();
    by_distance.forEach((each, rank) => {
      const scale = Math.floor(Math.log2(1 + each.distance) * 2) * 2 + Number(each.position > this.position);
      const count = scales.get(scale) ?? 0;
      scales.set(scale, count + 1);
      if (rank >= limits.near_max && count >= limits.scale_max && !kept.has(each)) this.#drop(each);
    });
  }
}

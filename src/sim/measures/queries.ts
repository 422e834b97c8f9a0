import { kinds, type Peer } from '../../overlay/core/index.ts';
import { matcher, type Query } from '../../overlay/rss/index.ts';
import type { World } from '../world.ts';

const search_kinds = [kinds.rss_query, kinds.rss_answer, kinds.rss_walk, kinds.rss_accept, kinds.rss_part, kinds.rss_done];

/** Runs queries in a world and keeps the averages of those that have ended. */
export class Queries {
  readonly #world: World;
  readonly #selectivity: number;
  begun = 0;
  ended = 0;
  found = 0;
  full = 0;
  /** Found nodes that were dead already; and nodes that were asked though they do not match. */
  dead = 0;
  strangers = 0;
  /** Shares of the matching nodes that exhaustive queries found, summed. */
  share = 0;
  #messages = 0;

  constructor(world: World, selectivity: number) {
    this.#world = world;
    this.#selectivity = selectivity;
    this.#messages = this.#sent();
  }

  #sent(): number {
    return search_kinds.reduce((sum, kind) => sum + this.#world.engine.messages[kind]!, 0);
  }

  /** Messages of all queries since this was made, a query. */
  get messages(): number {
    return this.begun === 0 ? 0 : (this.#sent() - this.#messages) / this.begun;
  }

  /** A query for `wanted` nodes. */
  some(wanted: number): void {
    const { search, engine } = this.#world;
    const query = this.#world.query(this.#selectivity);
    const match = matcher(query, engine.book);
    this.begun++;
    search.some(this.#world.living(), query, wanted, ({ peers, asked }) => {
      this.ended++;
      this.found += peers.length;
      if (peers.length >= wanted) this.full++;
      for (const peer of peers) if (engine.alive[peer] === 0) this.dead++;
      for (const peer of asked) if (!match(peer)) this.strangers++;
    });
  }

  /** A query for all. What counts are nodes that matched at its beginning and live at its end. */
  all(): void {
    const { search, engine } = this.#world;
    const query: Query = this.#world.query(this.#selectivity);
    const match = matcher(query, engine.book);
    const there: Peer[] = [];
    for (let node = 0; node < engine.capacity; node++) if (engine.alive[node] === 1 && match(node)) there.push(node);
    this.begun++;
    search.all(this.#world.living(), query, ({ peers }) => {
      const found = new Set(peers);
      const still = there.filter((node) => engine.alive[node] === 1);
      this.ended++;
      this.found += peers.length;
      this.share += still.length === 0 ? 1 : still.filter((node) => found.has(node)).length / still.length;
    });
  }
}

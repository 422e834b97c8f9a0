import { kinds, type Message, type Peer } from '../core/index.ts';
import type { Query } from './query.ts';

/** What do you know? Of your box that begins with the first `depth` bits of your key, by key number `key`. */
export interface QueryMessage extends Message {
  readonly kind: typeof kinds.rss_query;
  readonly id: number;
  readonly key: number;
  readonly depth: number;
  readonly query: Query;
}

/** A box that the asked node did not look into: its first `depth` bits are those of each of `peers`. */
export interface Box {
  readonly peers: readonly Peer[];
  readonly depth: number;
}

export interface AnswerMessage extends Message {
  readonly kind: typeof kinds.rss_answer;
  readonly id: number;
  readonly matches: readonly Peer[];
  readonly rest: readonly Box[];
}

/** Find all matches in your box, ask others for parts of it, and say `done` when all is told. */
export interface WalkMessage extends Message {
  readonly kind: typeof kinds.rss_walk;
  /** The origin's number of the query, and the asker's number of this walk. */
  readonly id: number;
  readonly walk: number;
  readonly origin: Peer;
  readonly key: number;
  readonly depth: number;
  readonly query: Query;
  readonly within_ms: number;
}

/** I have the walk and work on it. */
export interface AcceptMessage extends Message {
  readonly kind: typeof kinds.rss_accept;
  readonly walk: number;
}

/** Matches that did not fit into `done`, straight to the origin. */
export interface PartMessage extends Message {
  readonly kind: typeof kinds.rss_part;
  readonly id: number;
  readonly matches: readonly Peer[];
}

export interface DoneMessage extends Message {
  readonly kind: typeof kinds.rss_done;
  readonly walk: number;
  readonly matches: readonly Peer[];
  /** Boxes of which nobody answered. */
  readonly missing: number;
}

import { nobody, type Peer } from '../core/index.ts';
import { limits } from './limits.ts';
import type { LinkTable } from './link-table.ts';
import type { Box } from './messages.ts';
import type { Match } from './query.ts';
import type { Region } from './region.ts';

export interface SearchResult {
  readonly peers: readonly Peer[];
  /** The nodes that were asked. Each was sent one message and (if it lives) sent one. */
  readonly asked: readonly Peer[];
  /** True when there are no others: every box was looked into. */
  readonly complete: boolean;
}

/** What a row knows of its box: matches among itself and its links (all of them, also outside the box), and the boxes inside that it did not look into. */
export function look(self: number, table: LinkTable, region: Region, match: Match, depth: number): { readonly matches: Peer[]; readonly rest: Box[] } {
  const matches: Peer[] = match(self) ? [self] : [];
  const rest: Box[] = [];
  const { space } = table;
  for (let place = table.buckets(self) - 1; place >= 0; place--) {
    const level = table.level(self, place);
    const peers: Peer[] = [];
    for (let slot = 0; slot < limits.bucket; slot++) {
      const peer = table.at(self, place, slot);
      if (peer === nobody) break;
      peers.push(peer);
      if (table.age(self, place, slot) <= limits.answer_age_max_cycles && match(peer)) matches.push(peer);
    }
    if (level >= depth && region.shareOfSibling(space.high[self]!, space.low[self]!, level) > 0) rest.push({ peers, depth: level + 1 });
  }
  return { matches, rest: rest.reverse() };
}

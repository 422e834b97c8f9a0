import { nobody, type Host, type Peer } from '../core/index.ts';
import type { Constraint, Query } from '../rss/index.ts';
import { limits } from './limits.ts';
import type { CloseMessage, OpenMessage, ReportMessage } from './messages.ts';

interface Directory {
  readonly owner: Peer;
  open: OpenMessage;
  expires_ms: number;
  readonly reports: Map<Peer, { readonly values: readonly (number | null)[]; readonly at_ms: number }>;
}

/** Whether what is known of a node's metrics satisfies all constraints; an unknown metric satisfies none. */
export function holds(constraints: readonly Constraint[], value: (metric: string) => number | null): boolean {
  return constraints.every((constraint) => {
    if (constraint.kind === 'near' || constraint.kind === 'has') return false;
    const found = value(constraint.attribute);
    if (found === null) return false;
    if (constraint.kind !== 'range') return constraint.values.includes(found) === (constraint.kind === 'in');
    const { low, high, low_open, high_open } = constraint;
    return (low_open ? found > low : found >= low) && (high_open ? found < high : found <= high);
  });
}

/** The directories that a node keeps for applications: what their members reported last. */
export class Directories {
  readonly #host: Host;
  readonly #rows = new Map<number, Map<string, Directory>>();

  constructor(host: Host) {
    this.#host = host;
  }

  clear(self: number): void {
    this.#rows.delete(self);
  }

  count(self: number): number {
    this.#expire(self);
    return this.#rows.get(self)?.size ?? 0;
  }

  *members(self: number): IterableIterator<Peer> {
    for (const { reports } of this.#rows.get(self)?.values() ?? []) yield* reports.keys();
  }

  #expire(self: number): void {
    const now_ms = this.#host.now_ms(self);
    const mine = this.#rows.get(self);
    for (const [app, { expires_ms }] of mine ?? []) if (expires_ms < now_ms) mine!.delete(app);
  }

  onOpen(self: number, owner: Peer, open: OpenMessage): void {
    this.#expire(self);
    let mine = this.#rows.get(self);
    const known = mine?.get(open.app);
    if (known !== undefined && known.owner !== owner) return this.#host.metrics.add('rejected.not_owner');
    if (!open.replicas.includes(self)) return void mine?.delete(open.app);
    if (mine === undefined) this.#rows.set(self, (mine = new Map()));
    const expires_ms = this.#host.now_ms(self) + limits.lease_ms;
    if (known === undefined && mine.size >= limits.joined_max) return this.#host.metrics.add('rejected.too_many_directories');
    if (known === undefined) mine.set(open.app, { owner, open, expires_ms, reports: new Map() });
    else Object.assign(known, { open, expires_ms });
  }

  onClose(self: number, owner: Peer, { app }: CloseMessage): void {
    const mine = this.#rows.get(self);
    if (mine?.get(app)?.owner === owner) mine.delete(app);
  }

  onGone(self: number, peer: Peer): void {
    for (const { reports } of this.#rows.get(self)?.values() ?? []) reports.delete(peer);
  }

  onReport(self: number, from: Peer, { app, values }: ReportMessage): void {
    const directory = this.#rows.get(self)?.get(app);
    // A member may hear of the directory before this node does.
    if (directory === undefined) return this.#host.metrics.add('ads.report_without_directory');
    if (values.length !== directory.open.metrics.length) return this.#host.metrics.add('rejected.malformed');
    if (!directory.reports.has(from) && directory.reports.size >= limits.members_max) return this.#host.metrics.add('rejected.too_many_members');
    directory.reports.set(from, { values, at_ms: this.#host.now_ms(self) });
  }

  /** Those whose last report satisfies the query, newest first; null when there is no such directory. */
  find(self: number, app: string, query: Query, wanted: number): Peer[] | null {
    this.#expire(self);
    const directory = this.#rows.get(self)?.get(app);
    if (directory === undefined) return null;
    const fresh_ms = this.#host.now_ms(self) - limits.stale_reports * directory.open.report_ms;
    const places = new Map(directory.open.metrics.map((name, place) => [name, place]));
    const found: { readonly peer: Peer; readonly at_ms: number }[] = [];
    for (const [peer, { values, at_ms }] of directory.reports) {
      if (at_ms < fresh_ms) directory.reports.delete(peer);
      else if (peer !== nobody && holds(query.constraints, (name) => values[places.get(name) ?? -1] ?? null)) found.push({ peer, at_ms });
    }
    return found.sort((a, b) => b.at_ms - a.at_ms).slice(0, wanted).map(({ peer }) => peer);
  }
}

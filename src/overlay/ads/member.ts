import { kinds, type Host, type Peer } from '../core/index.ts';
import { limits } from './limits.ts';
import type { CloseMessage, OpenMessage, ReportMessage } from './messages.ts';

/** The metrics of a node at this moment: load, free memory, whatever a user defined. */
export type Values = Readonly<Record<string, number>>;

interface Membership {
  readonly owner: Peer;
  open: OpenMessage;
  expires_ms: number;
  timer: number;
}

/** The part of a node that belongs to an application: it reports to those that keep the directory, until that is closed or expires. */
export class Members {
  readonly #host: Host;
  readonly #values: (self: number) => Values;
  readonly #rows = new Map<number, Map<string, Membership>>();

  constructor(host: Host, values: (self: number) => Values) {
    this.#host = host;
    this.#values = values;
  }

  clear(self: number): void {
    for (const { timer } of this.#rows.get(self)?.values() ?? []) this.#host.cancel(timer);
    this.#rows.delete(self);
  }

  count(self: number): number {
    return this.#rows.get(self)?.size ?? 0;
  }

  *replicas(self: number): IterableIterator<Peer> {
    for (const { open } of this.#rows.get(self)?.values() ?? []) yield* open.replicas;
  }

  /** A name is its first owner's: another one cannot take it over. */
  onOpen(self: number, owner: Peer, open: OpenMessage): void {
    let mine = this.#rows.get(self);
    if (mine === undefined) this.#rows.set(self, (mine = new Map()));
    const name = open.app;
    const known = mine.get(name);
    if (known !== undefined && known.owner !== owner) return this.#host.metrics.add('rejected.not_owner');
    const expires_ms = this.#host.now_ms(self) + limits.lease_ms;
    if (known !== undefined) {
      known.open = open;
      known.expires_ms = expires_ms;
      return;
    }
    if (mine.size >= limits.joined_max) return this.#host.metrics.add('rejected.too_many_directories');
    const membership: Membership = { owner, open, expires_ms, timer: 0 };
    mine.set(name, membership);
    this.#report(self, name, membership);
  }

  onClose(self: number, owner: Peer, { app }: CloseMessage): void {
    if (this.#rows.get(self)?.get(app)?.owner === owner) this.#forget(self, app);
  }

  #forget(self: number, name: string): void {
    const membership = this.#rows.get(self)?.get(name);
    if (membership === undefined) return;
    this.#host.cancel(membership.timer);
    this.#rows.get(self)!.delete(name);
  }

  #report(self: number, name: string, membership: Membership): void {
    if (this.#host.now_ms(self) > membership.expires_ms) return this.#forget(self, name);
    const values = this.#values(self);
    const { app, metrics, replicas, report_ms } = membership.open;
    const message: ReportMessage = { kind: kinds.ads_report, app: app, values: metrics.map((metric) => values[metric] ?? null) };
    for (const replica of replicas) this.#host.send(self, replica, message);
    membership.timer = this.#host.after(self, report_ms, () => this.#report(self, name, membership));
  }
}

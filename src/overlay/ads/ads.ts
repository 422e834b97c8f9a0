import { kinds, type Host, type Message, type Peer, type Protocol } from '../core/index.ts';
import type { Query } from '../rss/index.ts';
import { Directories } from './directory.ts';
import { limits } from './limits.ts';
import { Members, type Values } from './member.ts';
import { adsCodecs, type AnswerMessage, type AskMessage, type CloseMessage, type OpenMessage, type ReportMessage } from './messages.ts';

interface Owned {
  readonly members: Set<Peer>;
  replicas: Peer[];
  readonly metrics: readonly string[];
  readonly report_ms: number;
  timer: number;
}

interface Asking {
  readonly app: string;
  readonly query: Query;
  readonly wanted: number;
  readonly left: Peer[];
  timer: number;
  readonly done: (peers: readonly Peer[] | null) => void;
}

/**
 * Directories of applications: RSS finds nodes by what they are; of these the directory knows what they are doing. The owner opens it on
 * its members, three of whom keep it; all report to all three, so that any of them can answer. The owner renews it, replaces keepers
 * that die, and closes it; when the owner is gone it expires everywhere.
 */
export class Ads implements Protocol {
  readonly name = 'ads';
  readonly kinds = [kinds.ads_open, kinds.ads_report, kinds.ads_ask, kinds.ads_answer, kinds.ads_close];
  static readonly codecs = adsCodecs;
  readonly #host: Host;
  readonly #members: Members;
  readonly #directories: Directories;
  readonly #owned = new Map<number, Map<string, Owned>>();
  readonly #asking = new Map<number, Map<number, Asking>>();
  #next = 1;

  /** `values`: the metrics of a row at this moment. */
  constructor(host: Host, values: (self: number) => Values) {
    this.#host = host;
    this.#members = new Members(host, values);
    this.#directories = new Directories(host);
  }

  start(self: number): void {
    this.#members.clear(self);
    this.#directories.clear(self);
    this.#owned.delete(self);
    this.#asking.delete(self);
  }

  stop(self: number): void {
    for (const app of [...(this.#owned.get(self)?.keys() ?? [])]) this.close(self, app);
    this.start(self);
  }

  /** Applications that the row takes part in, and directories that it keeps. */
  load(self: number): { readonly joined: number; readonly kept: number } {
    return { joined: this.#members.count(self), kept: this.#directories.count(self) };
  }

  /**
   * Opens a directory over nodes that RSS found. `app` must be unique in the VO (a job's id). `metrics`: what members report, as often as
   * `report_ms`. False when a bound of limits.ts is passed, or it is open already.
   */
  open(self: number, app: string, members: readonly Peer[], metrics: readonly string[], report_ms: number = limits.report_ms): boolean {
    let mine = this.#owned.get(self);
    if (mine === undefined) this.#owned.set(self, (mine = new Map()));
    const fits = mine.size < limits.owned_max && members.length <= limits.members_max && metrics.length <= limits.metrics_max && Buffer.byteLength(app) <= limits.app_bytes_max;
    if (!fits || mine.has(app)) return false;
    const owned: Owned = { members: new Set(members), replicas: members.slice(0, limits.replicas), metrics, report_ms, timer: 0 };
    mine.set(app, owned);
    this.#renew(self, app, owned);
    return true;
  }

  #renew(self: number, app: string, owned: Owned): void {
    this.#host.cancel(owned.timer);
    const message: OpenMessage = { kind: kinds.ads_open, app, replicas: owned.replicas, metrics: owned.metrics, report_ms: owned.report_ms };
    for (const member of owned.members) this.#host.send(self, member, message);
    owned.timer = this.#host.after(self, limits.lease_ms / 3, () => this.#renew(self, app, owned));
  }

  close(self: number, app: string): void {
    const owned = this.#owned.get(self)?.get(app);
    if (owned === undefined) return;
    this.#host.cancel(owned.timer);
    this.#owned.get(self)!.delete(app);
    const message: CloseMessage = { kind: kinds.ads_close, app };
    for (const member of owned.members) this.#host.send(self, member, message);
  }

  /** The members of a directory that the row owns. */
  members(self: number, app: string): readonly Peer[] {
    return [...(this.#owned.get(self)?.get(app)?.members ?? [])];
  }

  /**
   * Up to `wanted` members whose metrics satisfy the query now. Keepers are asked one after the other without waiting long for any.
   * `done(null)`: none of them answered. False: no such directory is owned here, or too much is being asked.
   */
  find(self: number, app: string, query: Query, wanted: number, done: (peers: readonly Peer[] | null) => void): boolean {
    const owned = this.#owned.get(self)?.get(app);
    let mine = this.#asking.get(self);
    if (mine === undefined) this.#asking.set(self, (mine = new Map()));
    if (owned === undefined || mine.size >= limits.asks_max) return false;
    const id = this.#next++;
    const asking: Asking = { app, query, wanted: Math.min(wanted, limits.answer_peers_max), left: this.#host.random.shuffle([...owned.replicas]), timer: 0, done };
    mine.set(id, asking);
    this.#ask(self, id, asking);
    return true;
  }

  #ask(self: number, id: number, asking: Asking): void {
    const replica = asking.left.pop();
    if (replica === undefined) {
      asking.timer = this.#host.after(self, limits.give_up_ms, () => this.#answered(self, id, null));
      return;
    }
    const message: AskMessage = { kind: kinds.ads_ask, app: asking.app, id, wanted: asking.wanted, query: asking.query };
    this.#host.send(self, replica, message);
    asking.timer = this.#host.after(self, limits.hedge_ms, () => this.#ask(self, id, asking));
  }

  #answered(self: number, id: number, peers: readonly Peer[] | null): void {
    const asking = this.#asking.get(self)?.get(id);
    if (asking === undefined) return;
    this.#host.cancel(asking.timer);
    this.#asking.get(self)!.delete(id);
    asking.done(peers);
  }

  onMessage(self: number, from: Peer, message: Message): void {
    switch (message.kind) {
      case kinds.ads_open:
        this.#members.onOpen(self, from, message as OpenMessage);
        return this.#directories.onOpen(self, from, message as OpenMessage);
      case kinds.ads_close:
        this.#members.onClose(self, from, message as CloseMessage);
        return this.#directories.onClose(self, from, message as CloseMessage);
      case kinds.ads_report: return this.#directories.onReport(self, from, message as ReportMessage);
      case kinds.ads_ask: return this.#onAsk(self, from, message as AskMessage);
      case kinds.ads_answer: {
        const { id, known, matches } = message as AnswerMessage;
        // A keeper that does not know the directory yet is like one that is silent: the others are asked in their turn.
        if (known) this.#answered(self, id, matches);
      }
    }
  }

  #onAsk(self: number, from: Peer, { app, id, query, wanted }: AskMessage): void {
    const found = this.#directories.find(self, app, query, Math.min(wanted, limits.answer_peers_max));
    const answer: AnswerMessage = { kind: kinds.ads_answer, id, known: found !== null, matches: found ?? [] };
    this.#host.send(self, from, answer);
  }

  /** A member is gone; if it kept the directory, another one does from now on. */
  onGone(self: number, peer: Peer): void {
    this.#directories.onGone(self, peer);
    for (const [app, owned] of this.#owned.get(self) ?? []) {
      if (!owned.members.delete(peer)) continue;
      if (!owned.replicas.includes(peer)) continue;
      owned.replicas = [...owned.replicas.filter((replica) => replica !== peer), ...[...owned.members].filter((member) => !owned.replicas.includes(member))].slice(0, limits.replicas);
      this.#renew(self, app, owned);
    }
  }

  marks(self: number, mark: (peer: Peer) => void): void {
    for (const owned of this.#owned.get(self)?.values() ?? []) for (const peer of owned.members) mark(peer);
    for (const peer of this.#members.replicas(self)) mark(peer);
    for (const peer of this.#directories.members(self)) mark(peer);
  }
}

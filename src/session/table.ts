import { XosError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import type { Session } from '../core/model.ts';
import type { Disk, Log } from '../core/ports.ts';
import { coalesce, Listeners } from '../core/signal.ts';
import type { Sessions } from '../daemon/context.ts';

/** A session with what only its origin knows. */
export interface HeldSession extends Session {
  /** Of sessions that were opened here. PEM and hexadecimal; credential and key are empty when the VO was out of reach, `ssh` is base64. */
  readonly own: { readonly credential: string; readonly key: string; readonly ssh?: string; readonly secret: string; readonly credential_expires_ms: number; readonly credential_key: number; readonly pid_started: number | null } | null;
}

/** A login of this node. */
export type OwnSession = HeldSession & { readonly own: NonNullable<HeldSession['own']> };

export const isOwn = (held: HeldSession): held is OwnSession => held.own !== null;
/** A login of this node with the VO's word, which other nodes may know. */
export const isGranted = (held: HeldSession): held is OwnSession => held.own !== null && held.own.credential !== '';

/** The sessions of this node, mirrored to a file in /run. */
export class SessionTable implements Sessions {
  readonly #sessions = new Map<string, HeldSession>();
  readonly #opens = new Listeners<[Session]>();
  readonly #closes = new Listeners<[Session, string]>();
  readonly #path: string;
  readonly #disk: Disk;
  readonly #log: Log;
  readonly #save: () => void;
  #saving: Promise<void> = Promise.resolve();

  constructor(path: string, ports: { disk: Disk; log: Log }) {
    this.#path = path;
    this.#disk = ports.disk;
    this.#log = ports.log;
    this.#save = coalesce(() => (this.#saving = this.#write()), (thrown) => this.#log.error('cannot keep the sessions over a restart', { reason: String(thrown) }));
  }

  /** Takes up what was open before a restart; what expired meanwhile is left out. */
  async load(now_ms: number): Promise<void> {
    const kept = await this.#disk.read(this.#path);
    if (kept === null) return;
    try {
      for (const session of JSON.parse(kept.toString('utf8')) as HeldSession[]) if (session.expires_ms > now_ms) this.#sessions.set(session.session, session);
    } catch (thrown) {
      this.#log.error('the sessions of before cannot be read; users log in again', { path: this.#path, reason: String(thrown) });
    }
  }

  /** Adds or replaces; resolves when it would survive a restart. Throws XOS_BUSY when there are too many. */
  async put(session: HeldSession): Promise<void> {
    const known = this.#sessions.has(session.session);
    if (!known && this.#sessions.size >= limits.sessions_max) throw new XosError('XOS_BUSY', `this node has ${limits.sessions_max} sessions already`);
    this.#sessions.set(session.session, session);
    this.#save();
    await this.#saving;
    if (!known) this.#opens.emit(publicSession(session));
  }

  /** Returns the session that was there, or null. */
  remove(session: string, reason: string): HeldSession | null {
    const held = this.#sessions.get(session) ?? null;
    if (held === null) return null;
    this.#sessions.delete(session);
    this.#save();
    this.#closes.emit(publicSession(held), reason);
    return held;
  }

  held = (session: string): HeldSession | null => this.#sessions.get(session) ?? null;
  all = (): readonly HeldSession[] => [...this.#sessions.values()];
  list = (): readonly Session[] => this.all().map(publicSession);
  get = (session: string): Session | null => {
    const held = this.held(session);
    return held === null ? null : publicSession(held);
  };
  onOpen = (listener: (session: Session) => void): (() => void) => this.#opens.add(listener);
  onClose = (listener: (session: Session, reason: string) => void): (() => void) => this.#closes.add(listener);

  async settled(): Promise<void> {
    await this.#saving;
  }

  async #write(): Promise<void> {
    await this.#disk.writeAtomic(this.#path, JSON.stringify(this.all()), { mode: 0o600, durable: false });
  }
}

function publicSession({ own: _, ...session }: HeldSession): Session {
  return session;
}

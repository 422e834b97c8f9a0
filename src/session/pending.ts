import { limits } from '../core/limits.ts';
import type { Credential } from '../vo/credential.ts';
import type { KeyObject } from 'node:crypto';

/** A password was right, and PAM has not opened the session yet. */
export interface PendingLogin {
  readonly handle: string;
  readonly user: string;
  readonly credential: Credential;
  readonly pem: string;
  readonly key: KeyObject;
  readonly until_ms: number;
}

const pending_max = 256;

/** Holds logins between auth and open, for a short while and each for one use. */
export class PendingLogins {
  readonly #logins = new Map<string, PendingLogin>();

  put(login: Omit<PendingLogin, 'until_ms'>, now_ms: number): void {
    this.sweep(now_ms);
    const [oldest] = this.#logins.keys();
    if (this.#logins.size >= pending_max && oldest !== undefined) this.#logins.delete(oldest);
    this.#logins.set(login.handle, { ...login, until_ms: now_ms + limits.handle_ms });
  }

  /** The login of the handle, which is then used up; null when there is none (any more). */
  take(handle: string, now_ms: number): PendingLogin | null {
    this.sweep(now_ms);
    const login = this.#logins.get(handle) ?? null;
    this.#logins.delete(handle);
    return login;
  }

  /** Forgets what was not opened in time. */
  sweep(now_ms: number): void {
    for (const [handle, login] of this.#logins) if (login.until_ms <= now_ms) this.#logins.delete(handle);
  }
}

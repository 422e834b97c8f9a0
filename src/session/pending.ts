import type { KeyObject } from 'node:crypto';
import { limits } from '../core/limits.ts';
import type { Credential } from '../vo/credential.ts';

/** What the CDA gave for a right password. */
export interface Grant {
  readonly credential: Credential;
  readonly pem: string;
  /** OpenSSH certificate of the same key; empty from a registry that issues none. */
  readonly ssh: Buffer;
  readonly key: KeyObject;
}

/** A password was right, and PAM has not opened the session yet. */
export interface PendingLogin {
  readonly handle: string;
  readonly user: string;
  /**
   * `change`: only once the password was changed; `offline`: by a verifier of this node, until then, since the CDA could not be reached.
   */
  readonly by: { readonly kind: 'grant'; readonly grant: Grant } | { readonly kind: 'change' } | { readonly kind: 'offline'; readonly until_ms: number };
  readonly until_ms: number;
}

const pending_max = 256;

/** Holds logins between auth and open, for a short while and each for one use. */
export class PendingLogins {
  readonly #logins = new Map<string, PendingLogin>();

  /** With the handle of one that is there: replaces it. */
  put(login: Omit<PendingLogin, 'until_ms'>, now_ms: number): void {
    this.sweep(now_ms);
    const [oldest] = this.#logins.keys();
    if (this.#logins.size >= pending_max && oldest !== undefined) this.#logins.delete(oldest);
    this.#logins.set(login.handle, { ...login, until_ms: now_ms + limits.handle_ms });
  }

  /** Looks without using it up. */
  peek(handle: string, now_ms: number): PendingLogin | null {
    this.sweep(now_ms);
    return this.#logins.get(handle) ?? null;
  }

  /** The login of the handle, which is then used up; null when there is none (any more). */
  take(handle: string, now_ms: number): PendingLogin | null {
    const login = this.peek(handle, now_ms);
    this.#logins.delete(handle);
    return login;
  }

  /** Forgets what was not opened in time. */
  sweep(now_ms: number): void {
    for (const [handle, login] of this.#logins) if (login.until_ms <= now_ms) this.#logins.delete(handle);
  }
}

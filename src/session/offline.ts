import { createHmac } from 'node:crypto';
import { XosError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import type { Clock, Disk, Log, Random } from '../core/ports.ts';
import { hour_ms, minute_ms } from '../core/units.ts';
import { checkPassword, isOutdated, makeVerifier } from '../vo/password.ts';

interface Entry {
  readonly uid: number;
  readonly verifier: string;
  /** When the CDA last said that the password is right. */
  readonly confirmed_ms: number;
}

const entries_max = 1_024;
const name_pattern = /^[a-z_][a-z0-9_.-]{0,30}$/;

/**
 * Passwords that the CDA confirmed on this node, for the time when it cannot be reached: a hash (src/vo/password.ts) of the password keyed with a secret of
 * this node, so that the file says nothing on another machine. Root's, 0600.
 */
export class OfflineLogins {
  readonly #path: string;
  readonly #secret: Buffer;
  readonly #ports: { readonly clock: Clock; readonly disk: Disk; readonly random: Random; readonly log: Log };
  readonly #cost: () => number;
  #writing: Promise<void> = Promise.resolve();
  /** By a key of this process: which password a member had at the last login, so that the next one costs no second hash. */
  readonly #last = new Map<string, string>();
  readonly #process: Buffer;

  /** `secret`: known to this node alone; `cost`: the VO's of a verifier (LoginPolicy.password_cost), asked each time. */
  constructor(path: string, secret: Buffer, cost: () => number, ports: { readonly clock: Clock; readonly disk: Disk; readonly random: Random; readonly log: Log }) {
    this.#path = path;
    this.#secret = secret;
    this.#cost = cost;
    this.#ports = ports;
    this.#process = ports.random.bytes(32);
  }

  /** Notes a password that the CDA has just confirmed. */
  async confirm(user: string, uid: number, password: string): Promise<void> {
    const confirmed_ms = this.#ports.clock.now_ms();
    const known = (await this.#read())[user];
    const mark = createHmac('sha256', this.#process).update(this.#keyed(password)).digest('base64');
    const same = known?.uid === uid && this.#last.get(user) === mark && !isOutdated(known.verifier, this.#cost());
    if (same && confirmed_ms >= known.confirmed_ms && confirmed_ms - known.confirmed_ms < minute_ms) return;
    const verifier = same ? known.verifier : await makeVerifier(this.#keyed(password), this.#cost(), this.#ports.random);
    await this.#change((entries) => ({ ...entries, [user]: { uid, verifier, confirmed_ms } }));
    if (this.#last.size >= entries_max) this.#last.clear();
    this.#last.set(user, mark);
  }

  /** Forgets a member: revoked, or no longer one. */
  async forget(user: string): Promise<void> {
    this.#last.delete(user);
    await this.#change(({ [user]: _, ...rest }) => rest);
  }

  /**
   * Until when the member may be let in by this password; `admit` as in checkPassword. Throws XOS_OFFLINE when offline logins are not
   * allowed to her (never here before, too long ago, a clock that was set back), XOS_WRONG_PASSWORD.
   */
  async check(user: string, uid: number, password: string, allowed_hours: number, admit: () => void): Promise<{ readonly until_ms: number }> {
    const now_ms = this.#ports.clock.now_ms();
    const entry = (await this.#read())[user];
    const no = (why: string): XosError => new XosError('XOS_OFFLINE', `the VO cannot be reached, and '${user}' is not let in without it: ${why}`, { user });
    if (allowed_hours <= 0) throw no('the policy of the VO or of this node does not allow that');
    if (entry === undefined || entry.uid !== uid) throw no('there was no login here with the VO in reach');
    const until_ms = entry.confirmed_ms + allowed_hours * hour_ms;
    if (now_ms >= until_ms) throw no(`the last login with the VO in reach is more than ${allowed_hours} h ago`);
    if (now_ms < entry.confirmed_ms - limits.clock_skew_ms) throw no('the clock of this node was set back');
    if (!(await checkPassword(this.#keyed(password), entry.verifier, this.#cost(), admit))) throw new XosError('XOS_WRONG_PASSWORD', `wrong password for '${user}', by the verifier of this node`, { user });
    return { until_ms };
  }

  #keyed(password: string): string {
    return createHmac('sha256', this.#secret).update(password.normalize('NFC')).digest('base64');
  }

  async #read(): Promise<Readonly<Record<string, Entry>>> {
    const kept = await this.#ports.disk.read(this.#path);
    if (kept === null) return {};
    try {
      const entries = Object.entries(JSON.parse(kept.toString('utf8')) as Record<string, Entry>);
      return Object.fromEntries(entries.filter(([user, entry]) => name_pattern.test(user) && Number.isInteger(entry?.uid) && Number.isFinite(entry.confirmed_ms) && typeof entry.verifier === 'string'));
    } catch {
      this.#ports.log.warn('the verifiers of this node cannot be read; offline logins need a login with the VO first', { path: this.#path });
      return {};
    }
  }

  /** One change at a time; the oldest goes when there are too many. */
  async #change(change: (entries: Readonly<Record<string, Entry>>) => Readonly<Record<string, Entry>>): Promise<void> {
    const turn = this.#writing.catch(() => {}).then(async () => {
      const before = await this.#read();
      const entries = Object.entries(change(before)).sort(([, a], [, b]) => b.confirmed_ms - a.confirmed_ms).slice(0, entries_max);
      await this.#ports.disk.writeAtomic(this.#path, JSON.stringify(Object.fromEntries(entries)), { mode: 0o600 });
    });
    this.#writing = turn;
    await turn;
  }
}

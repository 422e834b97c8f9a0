import { XosError } from '../core/errors.ts';
import { day_ms } from '../core/units.ts';

/** What a VO says about logins; part of its signed membership document, so every node has it. */
export interface LoginPolicy {
  /** Characters that a new password must have at least. */
  readonly password_length_min: number;
  /** So many of the last passwords, the present one included, may not be chosen again. */
  readonly password_history: number;
  /** After so many days a password must be changed at login; 0: never. */
  readonly password_days_max: number;
  /** So long after the last login with the VO's word may a member log in to a node that is cut off; 0: never. A site may say less. */
  readonly offline_hours_max: number;
  /** What a hash of a password costs, as crypt_gensalt(3) counts for yescrypt: 4 takes 8 MiB, and each one more twice the memory and the time. */
  readonly password_cost: number;
  /** `leave`: what was sent to the background goes on after logout, as on any Linux; `kill`: jobs end with their session. */
  readonly logout: 'leave' | 'kill';
}

export const default_login_policy: LoginPolicy = { password_length_min: 8, password_history: 3, password_days_max: 0, offline_hours_max: 24, password_cost: 5, logout: 'leave' };

const bounds = { password_length_min: [8, 128], password_history: [0, 8], password_days_max: [0, 3_650], offline_hours_max: [0, 168], password_cost: [4, 9] } as const;

/** Reads a change of the policy, as the fields came. Throws XOS_BAD_ARGUMENT that says what may stand there. */
export function parsePolicyChange(change: unknown): Partial<LoginPolicy> {
  const bad = (what: string): XosError => new XosError('XOS_BAD_ARGUMENT', `cannot change the login policy: ${what}`);
  if (typeof change !== 'object' || change === null) throw bad('it is no object');
  for (const [name, value] of Object.entries(change)) {
    if (name === 'logout') {
      if (value !== 'leave' && value !== 'kill') throw bad("'logout' is 'leave' or 'kill'");
      continue;
    }
    if (!Object.hasOwn(bounds, name)) throw bad(`there is no '${name.slice(0, 40)}'; it has ${Object.keys(default_login_policy).join(', ')}`);
    const [least, most] = bounds[name as keyof typeof bounds];
    if (!Number.isInteger(value) || value < least || value > most) throw bad(`'${name}' is a whole number from ${least} to ${most}`);
  }
  return change as Partial<LoginPolicy>;
}

/** The policy in a document or state; what an older one does not say is the default. */
export const policyOf = (said: Partial<LoginPolicy> | undefined): LoginPolicy => ({ ...default_login_policy, ...said });

/** True when a password that was set at `set_ms` must be changed before it opens a session. */
export const passwordExpired = (policy: LoginPolicy, set_ms: number, now_ms: number): boolean => policy.password_days_max > 0 && now_ms - set_ms > policy.password_days_max * day_ms;

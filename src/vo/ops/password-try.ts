import { XosError } from '../../core/errors.ts';
import type { AttemptKey } from '../attempts.ts';
import { policyOf } from '../login-policy.ts';
import { checkPassword, isOutdated, makeVerifier } from '../password.ts';
import type { Registry } from '../registry.ts';
import type { MemberEntry } from '../state.ts';

export interface PasswordTry {
  readonly user: string;
  readonly password: string;
  /** The node that asks; the CDA knows it by its certificate. */
  readonly node: string;
  /** What the node says about where its user is; empty: at its console. */
  readonly rhost: string;
}

const placesOf = ({ user, node }: { readonly user: string; readonly node: string }): AttemptKey => ['place', `${user} ${node}`];

/** What a try counts on. Names that are no member's count as others do, so that a lock does not tell which names exist. */
function keysOf(registry: Registry, attempt: PasswordTry): readonly AttemptKey[] {
  const keys: AttemptKey[] = [placesOf(attempt)];
  if (!registry.trustedPlaces.has(placesOf(attempt)[1])) keys.push(['member', attempt.user]);
  if (attempt.rhost !== '') keys.push(['source', attempt.rhost.slice(0, 255)]);
  return keys;
}

/**
 * The member with this password. Wrong ones are counted, and while they cost a wait nothing is compared at all, so that a right guess
 * is not told from a wrong one. `whileCompared`: called when it is a member's turn, on whom nothing is known yet. Throws XOS_LOCKED (data.retry_after_ms), XOS_NO_MEMBER, XOS_WRONG_PASSWORD, XOS_REVOKED.
 */
export async function tryPassword(registry: Registry, attempt: PasswordTry, whileCompared: (member: MemberEntry) => void = () => {}): Promise<MemberEntry> {
  const { clock } = registry.ports;
  const vo = registry.require();
  const { user } = attempt;
  const { password_cost } = policyOf(vo.login_policy);
  const name = `${user}@${vo.vo}`;
  const keys = keysOf(registry, attempt);
  const member = Object.hasOwn(vo.members, user) ? vo.members[user]! : null;
  const admit = (): void => {
    const wait_ms = Math.ceil(registry.attempts.wait_ms(keys, clock.now_ms()));
    if (wait_ms > 0) throw new XosError('XOS_LOCKED', `'${name}' is locked for ${Math.ceil(wait_ms / 1000)} s after too many wrong passwords; 'xvo member unlock' ends that`, { user, retry_after_ms: wait_ms });
  };
  admit();
  const begin = (): void => {
    admit();
    if (member !== null) whileCompared(member);
  };
  if (!(await checkPassword(attempt.password, member?.verifier ?? null, password_cost, begin)) || member === null) {
    const wait_ms = Math.ceil(registry.attempts.failed(keys, clock.now_ms()));
    registry.saveAttempts();
    if (member === null) throw new XosError('XOS_NO_MEMBER', `VO '${vo.vo}' has no member '${user}'`, { user, retry_after_ms: wait_ms });
    throw new XosError('XOS_WRONG_PASSWORD', `wrong password for '${name}'`, { user, retry_after_ms: wait_ms });
  }
  if (member.state === 'revoked') throw new XosError('XOS_REVOKED', `member '${name}' is revoked`, { user });
  registry.trustPlace(placesOf(attempt)[1]);
  // Not the source: who has a name of his own could clear it between guesses at others.
  if (registry.attempts.clear([placesOf(attempt), ['member', user]])) registry.saveAttempts();
  // Not waited for: a crash loses it, and the next login does it.
  if (isOutdated(member.verifier, password_cost)) void rehash(registry, member, attempt.password, password_cost);
  return member;
}

/** Puts a verifier by the method and cost of now in the place of one that was made by others. */
async function rehash(registry: Registry, member: MemberEntry, password: string, cost: number): Promise<void> {
  const { log, random } = registry.ports;
  try {
    await registry.propose({ kind: 'member-rehash', user: member.user, before: member.verifier, verifier: await makeVerifier(password, cost, random) });
    log.info('the verifier of a password was made anew', { user: member.user });
  } catch (thrown) {
    log.warn('the verifier of a password could not be made anew; the next login tries again', { user: member.user, reason: (thrown as Error).message });
  }
}

/** What is counted against a member now, for `member-show`. */
export function failuresOf(registry: Registry, user: string): { readonly failures: number; readonly locked_until_ms: number | null; readonly places: readonly { readonly node: string; readonly failures: number; readonly locked_until_ms: number | null }[] } {
  const now_ms = registry.ports.clock.now_ms();
  const until = (ms: number): number | null => (ms > now_ms ? Math.ceil(ms) : null);
  const all = registry.attempts.get(['member', user], now_ms);
  const places = registry.attempts.list('place', `${user} `, now_ms).map(([name, record]) => ({ node: name.slice(user.length + 1), failures: record.failures, locked_until_ms: until(record.until_ms) }));
  return { failures: all?.failures ?? 0, locked_until_ms: all === null ? null : until(all.until_ms), places };
}

/** Forgets what is counted against a member; the nodes hear of it by the membership document. */
export function forgetFailures(registry: Registry, user: string): void {
  const now_ms = registry.ports.clock.now_ms();
  registry.attempts.clear([['member', user], ...registry.attempts.list('place', `${user} `, now_ms).map(([name]): AttemptKey => ['place', name])]);
  registry.saveAttempts();
}


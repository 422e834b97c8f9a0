import { XosError } from '../core/errors.ts';
import { membersGid } from '../account/uid.ts';
import type { AttemptKey } from '../vo/attempts.ts';
import type { SessionParts } from './parts.ts';

export interface Attempted {
  /** As it was typed: names that do not exist wait like others, or a wait would tell which ones do. */
  readonly user: string;
  readonly rhost: string;
}

const user_max = 127;
/** A first wrong password costs this much of PAM's delay; each further one doubles it. */
const delay_ms_min = 1_000;
const delay_ms_max = 8_000;

const keysOf = ({ user, rhost }: Attempted): readonly AttemptKey[] => [['place', user.slice(0, user_max)], ...(rhost === '' ? [] : [['source', rhost.slice(0, 255)] as const])];

/** Throws XOS_LOCKED (data.retry_after_ms) while wrong passwords of before keep this name, or this source, waiting at this node. */
export function admitTry(parts: SessionParts, attempted: Attempted): void {
  const now_ms = parts.context.ports.clock.now_ms();
  const [place] = keysOf(attempted);
  const counted = parts.attempts.get(place!, now_ms);
  // An admin unlocked the member since: the membership document says when.
  const user = attempted.user.split('@')[0]!;
  if (counted !== null && parts.members.unlockedAt(user) > counted.last_ms) parts.attempts.clear([place!]);
  const wait_ms = Math.ceil(parts.attempts.wait_ms(keysOf(attempted), now_ms));
  if (wait_ms > 0) throw new XosError('XOS_LOCKED', `logins of '${attempted.user.slice(0, user_max)}' from '${attempted.rhost || 'the console'}' wait for ${Math.ceil(wait_ms / 1000)} s after too many wrong passwords`, { retry_after_ms: wait_ms });
}

/** Counts a wrong password here; returns how long PAM should take to say no. */
export function countFailure(parts: SessionParts, attempted: Attempted): number {
  const now_ms = parts.context.ports.clock.now_ms();
  parts.attempts.failed(keysOf(attempted), now_ms);
  parts.saveAttempts();
  const failures = parts.attempts.get(keysOf(attempted)[0]!, now_ms)?.failures ?? 1;
  return Math.min(delay_ms_min * 2 ** Math.min(failures - 1, 10), delay_ms_max);
}

/** A right password forgives the name, not the source: who has an account could clear it between guesses at others. */
export function forgive(parts: SessionParts, attempted: Attempted): void {
  if (parts.attempts.clear([keysOf(attempted)[0]!])) parts.saveAttempts();
}

/** The node's own users and groups, as their files say. */
export interface LocalAccounts {
  readonly passwd: string;
  readonly group: string;
}

/** Read at each login: useradd may have run since the last one. */
export async function readLocalAccounts(parts: SessionParts): Promise<LocalAccounts> {
  const read = async (file: string): Promise<string> => (await parts.context.ports.disk.read(`${parts.localAccounts}/${file}`))?.toString('utf8') ?? '';
  const [passwd, group] = await Promise.all([read('passwd'), read('group')]);
  return { passwd, group };
}

/** Refuses a member whose name or number belongs to a user or group of this node: files of one would be the other's. Throws XOS_UID_TAKEN. */
export function refuseCollision(parts: SessionParts, accounts: LocalAccounts, user: string, uid: number): void {
  const { context, trust } = parts;
  const name = `${user}@${context.vo}`;
  const ids = new Set([String(uid), String(membersGid(trust.number))]);
  for (const file of ['passwd', 'group'] as const) {
    for (const line of accounts[file].split('\n')) {
      const [local = '', , id = '', gid = ''] = line.split(':');
      const taken = local === name || ids.has(id) || (file === 'passwd' && ids.has(gid));
      if (!taken) continue;
      throw new XosError('XOS_UID_TAKEN', `'${name}' (uid ${uid}) gets no session on this node: ${parts.localAccounts}/${file} has '${local.slice(0, 80)}' with a name or number of the VO; give that one another number, below 1879048192`, { user, uid });
    }
  }
}

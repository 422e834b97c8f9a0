import { XosError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';

/**
 * uid = base + 65536 × VO number + user number, the same on every node, assigned by the VO's registry and never hashed. The user number
 * 0 of a VO is no user: it is the group of its members.
 */
export const uid_base = 1_879_048_192; // 0x70000000: above what distributions and systemd use, below 2^31 for old programs
export const uid_span = 65_536;

const inside = (value: unknown, most: number): value is number => Number.isInteger(value) && (value as number) >= 1 && (value as number) <= most;

export function uidOf(vo_number: number, user_number: number): number {
  if (!inside(vo_number, limits.vo_number_max)) throw new XosError('XOS_UID_RANGE', `VO number ${vo_number} is not between 1 and ${limits.vo_number_max}`);
  if (!inside(user_number, limits.user_number_max)) throw new XosError('XOS_UID_RANGE', `user number ${user_number} is not between 1 and ${limits.user_number_max}`);
  return uid_base + uid_span * vo_number + user_number;
}

/** The gid of members@vo. */
export const membersGid = (vo_number: number): number => uidOf(vo_number, 1) - 1;

/** `uid` if it is one of the VO's users (or, with group, of its groups); throws XOS_UID_RANGE, so that nobody's word makes a root. */
export function checkUid(vo_number: number, uid: unknown, options: { readonly group?: boolean } = {}): number {
  const lowest = membersGid(vo_number) + (options.group === true ? 0 : 1);
  const highest = uidOf(vo_number, limits.user_number_max);
  if (Number.isInteger(uid) && (uid as number) >= lowest && (uid as number) <= highest) return uid as number;
  throw new XosError('XOS_UID_RANGE', `${options.group === true ? 'gid' : 'uid'} ${String(uid).slice(0, 20)} is not between ${lowest} and ${highest}, the range of VO number ${vo_number}`);
}

/** The groups of a member: own group first, then members@vo. */
export const groupsOf = (vo_number: number, uid: number): readonly number[] => [checkUid(vo_number, uid), membersGid(vo_number)];

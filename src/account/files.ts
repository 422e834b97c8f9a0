import { parseUserName, parseVoName } from '../core/ids.ts';
import type { Member } from '../core/model.ts';
import { checkUid, membersGid } from './uid.ts';

/**
 * passwd(5) and group(5) lines of the VO's members for the name service module. Every name and number is checked again here, whatever
 * the document said: a line of this file is believed by every program of the node.
 */
export function passwdFile(number: number, members: readonly Member[], home: string): string {
  return sorted(members).map((member) => {
    const { name, user, uid } = checked(number, member);
    // A revoked member keeps its name for `ls -l`, and cannot be logged in to.
    const shell = member.state === 'active' ? '/bin/bash' : '/usr/sbin/nologin';
    return `${name}:x:${uid}:${uid}:${user}:${home}/${user}:${shell}\n`;
  }).join('');
}

export function groupFile(number: number, vo: string, members: readonly Member[]): string {
  const all = sorted(members).map((member) => checked(number, member));
  const active = sorted(members).filter((member) => member.state === 'active').map((member) => checked(number, member).name);
  return `members@${parseVoName(vo)}:x:${membersGid(number)}:${active.join(',')}\n` + all.map(({ name, uid }) => `${name}:x:${uid}:\n`).join('');
}

const sorted = (members: readonly Member[]): readonly Member[] => [...members].sort((a, b) => a.uid - b.uid);

function checked(number: number, member: Member): { name: string; user: string; uid: number } {
  const user = parseUserName(member.user);
  return { name: `${user}@${parseVoName(member.vo)}`, user, uid: checkUid(number, member.uid) };
}

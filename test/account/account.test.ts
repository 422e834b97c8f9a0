import test from 'ava';
import { XosError } from '../../src/core/errors.ts';
import type { Member } from '../../src/core/model.ts';
import { groupFile, passwdFile } from '../../src/account/files.ts';
import { checkUid, groupsOf, membersGid, uidOf, uid_base } from '../../src/account/uid.ts';
import { limits } from '../../src/core/limits.ts';

const member = (user: string, uid: number, change: Partial<Member> = {}): Member => ({ user, vo: 'demo', uid, gid: uid, groups: [], roles: [], state: 'active', ...change });

test('uids follow the rule and stay below 2^31', (t) => {
  t.is(uidOf(1, 1), 1_879_113_729);
  t.is(uidOf(2, 7), 1_879_048_192 + 65_536 * 2 + 7);
  t.true(uidOf(limits.vo_number_max, limits.user_number_max) < 2 ** 31);
  t.is(membersGid(1), uid_base + 65_536);
  t.deepEqual(groupsOf(1, uidOf(1, 5)), [uidOf(1, 5), membersGid(1)]);
});

test('numbers outside are refused on every side', (t) => {
  for (const [vo, user] of [[0, 1], [4_096, 1], [1, 0], [1, 65_535], [1.5, 1], [1, NaN], [-1, 1]] as const) t.is(t.throws<XosError>(() => uidOf(vo, user)).code, 'XOS_UID_RANGE');
  for (const uid of [0, 1_000, uidOf(1, 1) - 1, uidOf(2, 1), uidOf(1, limits.user_number_max) + 1, -1, 1.5, NaN, '1879113729', null, undefined]) {
    t.is(t.throws<XosError>(() => checkUid(1, uid)).code, 'XOS_UID_RANGE', String(uid));
  }
  t.is(checkUid(1, membersGid(1), { group: true }), membersGid(1));
  t.throws(() => checkUid(1, membersGid(1)));
});

test('passwd and group lines are as passwd(5) and group(5) have them, in the order of the uids', (t) => {
  const members = [member('bob', uidOf(1, 2)), member('alice', uidOf(1, 1))];
  t.is(passwdFile(1, members, '/home'), 'alice@demo:x:1879113729:1879113729:alice:/home/alice:/bin/bash\nbob@demo:x:1879113730:1879113730:bob:/home/bob:/bin/bash\n');
  t.is(groupFile(1, 'demo', members), 'members@demo:x:1879113728:alice@demo,bob@demo\nalice@demo:x:1879113729:\nbob@demo:x:1879113730:\n');
  t.is(passwdFile(1, [], '/home'), '');
  t.is(groupFile(1, 'demo', []), 'members@demo:x:1879113728:\n');
});

test('a revoked member keeps its name and gets no shell and no group', (t) => {
  const gone = [member('mallory', uidOf(1, 3), { state: 'revoked' })];
  t.regex(passwdFile(1, gone, '/home'), /^mallory@demo:x:1879113731:1879113731:mallory:\/home\/mallory:\/usr\/sbin\/nologin\n$/);
  t.regex(groupFile(1, 'demo', gone), /^members@demo:x:\d+:\n/);
});

test('a member that would make a line of its own, or a root, is refused', (t) => {
  for (const bad of [member('root', 0), member('x:0', uidOf(1, 1)), member('x\ny', uidOf(1, 1)), member('', uidOf(1, 1)), member('alice', uidOf(2, 1)), member('alice', uidOf(1, 1), { vo: 'de:mo' })]) {
    t.throws(() => passwdFile(1, [bad], '/home'));
    t.throws(() => groupFile(1, 'demo', [bad]));
  }
});

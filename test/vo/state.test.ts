// The registry's state machine: pure.
import test from 'ava';
import { limits } from '../../src/core/limits.ts';
import { membershipOf, registryMachine, revocationOf, type RegistryCommand, type RegistryState } from '../../src/vo/state.ts';

const founding: RegistryCommand = { kind: 'found', vo: 'demo', number: 1, node: 'n1', address: '10.0.0.1', port: 7001, roles: ['registry'], serial: 'aa', expires_ms: 9e12, at_ms: 1_000 };
const add = (user: string, roles: string[] = []): RegistryCommand => ({ kind: 'member-add', user, roles, verifier: `v-${user}`, at_ms: 2_000 });
const join = (node: string, token: string, at_ms = 2_500, key = 'k1'): RegistryCommand => ({ kind: 'node-join', node, address: '10.0.0.2', port: 7001, roles: ['relay'], token, key, serial: `s-${token}`, expires_ms: 9e12, at_ms });
const invite = (node: string, token: string): RegistryCommand => ({ kind: 'node-invite', node, token, expires_ms: 3_000 });

/** Applies commands that must all be taken. */
function after(t: import('ava').ExecutionContext, ...commands: RegistryCommand[]): RegistryState {
  return commands.reduce((state, command) => {
    const applied = registryMachine.apply(state, command);
    t.is(applied.refused, undefined, JSON.stringify(command));
    return applied.state;
  }, registryMachine.initial());
}
const refusal = (state: RegistryState, command: RegistryCommand): string | undefined => registryMachine.apply(state, command).refused?.code;

test('before founding every command but that is refused', (t) => {
  t.is(refusal(registryMachine.initial(), add('alice')), 'XOS_NO_VO');
  t.is(refusal(after(t, founding), { ...founding, vo: 'other' } as RegistryCommand), 'XOS_VO_EXISTS');
});

test('uids count up inside the VO and are never given twice', (t) => {
  const state = after(t, founding, add('alice'), add('bob'), { kind: 'member-remove', user: 'bob', at_ms: 3 }, add('bob'), add('carol'));
  const { members } = state.vo!;
  t.is(members['alice']?.uid, 1_879_113_729);
  t.is(members['bob']?.uid, 1_879_113_731);
  t.is(members['carol']?.uid, 1_879_113_732);
});

test('a name is taken once, also by a revoked member, and names of Object are none', (t) => {
  const state = after(t, founding, add('alice'), { kind: 'member-revoke', user: 'alice', reason: '', at_ms: 3 });
  t.is(refusal(state, add('alice')), 'XOS_MEMBER_EXISTS');
  t.is(refusal(state, { kind: 'member-revoke', user: 'alice', reason: '', at_ms: 4 }), 'XOS_REVOKED');
  for (const user of ['constructor', '__proto__', 'toString']) t.is(refusal(state, { kind: 'member-roles', user, roles: [] }), 'XOS_NO_MEMBER');
  t.truthy(after(t, founding, add('constructor')).vo!.members['constructor']);
});

test('the last user number is given and the next one refused', (t) => {
  const { vo } = after(t, founding);
  const full = { vo: { ...vo!, next_user: limits.user_number_max } };
  const last = registryMachine.apply(full, add('last'));
  t.is(last.state.vo!.members['last']?.uid, 1_879_113_728 + limits.user_number_max);
  t.is(refusal(last.state, add('more')), 'XOS_VO_FULL');
});

test('earlier passwords are kept for the rule that they are not used again, and never told', (t) => {
  const change = (verifier: string, at_ms: number): RegistryCommand => ({ kind: 'member-password', user: 'alice', verifier, at_ms });
  const state = after(t, founding, { ...add('alice'), change: true } as RegistryCommand, change('v2', 5), change('v3', 6));
  const { verifier, history, password_ms, change: forced } = state.vo!.members['alice']!;
  t.deepEqual([verifier, history, password_ms, forced], ['v3', ['v2', 'v-alice'], 6, false]);
  t.is(state.vo!.membership_version, after(t, founding, add('alice')).vo!.membership_version, 'no news for the nodes');
  let many = state;
  for (let count = 0; count < 30; count++) many = registryMachine.apply(many, change(`w${count}`, count)).state;
  t.is(many.vo!.members['alice']!.history!.length, 8);
  t.false(JSON.stringify(membershipOf(many.vo!, 7)).includes('w2'));
});

test('an unlock and a changed login policy reach the nodes by the membership document', (t) => {
  const before = after(t, founding, add('alice'));
  const state = after(t, founding, add('alice'), { kind: 'member-unlock', user: 'alice', at_ms: 77 }, { kind: 'login-policy', change: { offline_hours_max: 2 } }, { kind: 'login-policy', change: { logout: 'kill' } });
  t.is(state.vo!.membership_version, before.vo!.membership_version + 3);
  const document = membershipOf(state.vo!, 7);
  t.is(document.members[0]?.unlocked_ms, 77);
  t.like(document.login, { offline_hours_max: 2, logout: 'kill', password_length_min: 8 });
  t.is(refusal(before, { kind: 'member-unlock', user: 'nobody', at_ms: 1 }), 'XOS_NO_MEMBER');
});

test('a log of before, with failures in it, is still read', (t) => {
  const state = after(t, founding, add('alice'), { kind: 'login-failed', user: 'alice', at_ms: 1 }, { kind: 'login-succeeded', user: 'alice' }, { kind: 'member-password', user: 'alice', verifier: 'v2' });
  t.is(state.vo!.members['alice']?.verifier, 'v2');
});

test('a join token works once, for its node, until it expires', (t) => {
  const invited = after(t, founding, invite('n2', 'hash'));
  t.is(refusal(invited, join('n2', 'other')), 'XOS_BAD_TOKEN');
  t.is(refusal(invited, join('n3', 'hash')), 'XOS_NO_NODE');
  t.is(refusal(invited, join('n2', 'hash', 3_001)), 'XOS_TOKEN_EXPIRED');
  const joined = after(t, founding, invite('n2', 'hash'), join('n2', 'hash'));
  t.is(joined.vo!.nodes['n2']?.state, 'admitted');
  t.is(refusal(joined, join('n2', 'hash', 2_600, 'another key')), 'XOS_BAD_TOKEN');
  t.is(refusal(joined, join('n2', 'hash', 2_600)), undefined, 'the same key may ask again: the answer was lost');
  t.is(refusal(joined, invite('n2', 'more')), 'XOS_NODE_EXISTS');
});

test('a revoked node loses its certificates and its token, and comes back only by a new one', (t) => {
  const revoked = after(t, founding, invite('n2', 'hash'), join('n2', 'hash'), { kind: 'node-revoke', node: 'n2', at_ms: 2_600 });
  t.deepEqual(revoked.vo!.revoked_nodes.map(({ serial }) => serial), ['s-hash']);
  t.is(refusal(revoked, join('n2', 'hash', 2_700)), 'XOS_BAD_TOKEN');
  t.is(refusal(revoked, { kind: 'node-renew', node: 'n2', serial: 'x', expires_ms: 1, at_ms: 1 }), 'XOS_NOT_ADMITTED');
  t.is(refusal(revoked, { kind: 'node-revoke', node: 'n1', at_ms: 1 }), 'XOS_DENIED', 'the registry itself');
  const back = after(t, founding, invite('n2', 'hash'), join('n2', 'hash'), { kind: 'node-revoke', node: 'n2', at_ms: 2_600 }, invite('n2', 'new'), join('n2', 'new', 2_700, 'k2'));
  t.is(back.vo!.nodes['n2']?.state, 'admitted');
  t.deepEqual(back.vo!.revoked_nodes.map(({ serial }) => serial), ['s-hash']);
});

test('versions go up with what the nodes must know and with nothing else', (t) => {
  const versions = (state: RegistryState): number[] => [state.vo!.membership_version, state.vo!.revocation_version];
  const start = after(t, founding, add('alice'));
  t.deepEqual(versions(start), [2, 1]);
  const quiet = registryMachine.apply(start, { kind: 'login-failed', user: 'alice', at_ms: 1 });
  t.deepEqual([versions(quiet.state), quiet.effects], [[2, 1], []]);
  const loud = registryMachine.apply(start, { kind: 'member-revoke', user: 'alice', reason: 'left', at_ms: 5 });
  t.deepEqual([versions(loud.state), loud.effects], [[3, 2], ['membership', 'revocation']]);
});

test('documents tell no verifier, lock or token', (t) => {
  const { vo } = after(t, founding, add('alice', ['admin']), invite('n2', 'secret-hash'), { kind: 'member-revoke', user: 'alice', reason: 'left', at_ms: 5 });
  const text = JSON.stringify([membershipOf(vo!, 7), revocationOf(vo!, 7)]);
  for (const secret of ['v-alice', 'secret-hash', 'locked', 'failures']) t.false(text.includes(secret), secret);
  t.deepEqual(membershipOf(vo!, 7).members, [{ user: 'alice', uid: 1_879_113_729, roles: ['admin'], state: 'revoked' }]);
  t.deepEqual(revocationOf(vo!, 7).users, [{ uid: 1_879_113_729, user: 'alice', since_ms: 5, reason: 'left' }]);
});

test('apply leaves the state before as it was, and gives the same for the same', (t) => {
  const before = after(t, founding, add('alice'));
  const frozen = structuredClone(before);
  const commands: RegistryCommand[] = [add('bob'), invite('n2', 'h'), { kind: 'member-revoke', user: 'alice', reason: '', at_ms: 9 }, { kind: 'member-remove', user: 'alice', at_ms: 9 }];
  for (const command of commands) {
    t.deepEqual(registryMachine.apply(before, command), registryMachine.apply(frozen, command));
    t.deepEqual(before, frozen);
  }
});

import type { WireError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import type { MemberFacts, NodeRecord, NodeRole } from '../core/model.ts';
import type { Applied, StateMachine } from '../group/index.ts';
import { uidOf } from '../account/uid.ts';
import type { MembershipDocument, RevocationDocument } from './document.ts';
import { policyOf, type LoginPolicy } from './login-policy.ts';

/** The registry's state: one VO, or none yet. Pure: time, chance and hashes come in the commands. */
export interface RegistryState {
  readonly vo: VoState | null;
}

export interface VoState {
  readonly vo: string;
  readonly number: number;
  readonly founded_ms: number;
  readonly registry: string;
  /** Key → value (src/isolation/policy.ts); absent until one is set. */
  readonly isolation?: Readonly<Record<string, string>>;
  readonly members: Readonly<Record<string, MemberEntry>>;
  /** Never goes back: a uid is given once. */
  readonly next_user: number;
  readonly nodes: Readonly<Record<string, NodeEntry>>;
  readonly revoked_users: RevocationDocument['users'];
  readonly revoked_nodes: RevocationDocument['nodes'];
  readonly membership_version: number;
  readonly revocation_version: number;
  /** What differs from the default. */
  readonly login_policy?: Partial<LoginPolicy>;
}

export interface MemberEntry extends MemberFacts {
  readonly verifier: string;
  readonly added_ms: number;
  /** When the password was set; absent: when the member was added. */
  readonly password_ms?: number;
  /** Verifiers of earlier passwords, the last one first. */
  readonly history?: readonly string[];
  /** The password was given by somebody else and must be changed at the next login. */
  readonly change?: boolean;
  /** Failures of before that do not count any more, on any node. */
  readonly unlocked_ms?: number;
}

export interface NodeEntry extends NodeRecord {
  /** Hash of the secret of the token that is still good; null when there is none. */
  readonly token: string | null;
  readonly token_expires_ms: number;
  /** The token that let it in and the key (SHA-256) that it came with: the same node may ask again when the answer was lost. */
  readonly joined: { readonly token: string; readonly key: string } | null;
  /** Certificates that may still be in use, the newest last. */
  readonly certificates: readonly { readonly serial: string; readonly expires_ms: number }[];
}

interface NodePlace {
  readonly node: string;
  readonly address: string;
  readonly port: number;
  readonly roles: readonly NodeRole[];
}

export type RegistryCommand =
  | ({ readonly kind: 'found'; readonly vo: string; readonly number: number; readonly serial: string; readonly expires_ms: number; readonly at_ms: number } & NodePlace)
  | { readonly kind: 'member-add'; readonly user: string; readonly roles: readonly string[]; readonly verifier: string; readonly change?: boolean; readonly at_ms: number }
  | { readonly kind: 'member-revoke'; readonly user: string; readonly reason: string; readonly at_ms: number }
  | { readonly kind: 'member-remove'; readonly user: string; readonly at_ms: number }
  | { readonly kind: 'member-roles'; readonly user: string; readonly roles: readonly string[] }
  | { readonly kind: 'member-password'; readonly user: string; readonly verifier: string; readonly change?: boolean; readonly at_ms?: number }
  /** The same password by another method; nothing when it was changed meanwhile. */
  | { readonly kind: 'member-rehash'; readonly user: string; readonly before: string; readonly verifier: string }
  | { readonly kind: 'member-unlock'; readonly user: string; readonly at_ms: number }
  | { readonly kind: 'login-policy'; readonly change: Partial<LoginPolicy> }
  | { readonly kind: 'login-failed'; readonly user: string; readonly at_ms: number }
  | { readonly kind: 'login-succeeded'; readonly user: string }
  | { readonly kind: 'isolation'; readonly change: Readonly<Record<string, string | null>> }
  | { readonly kind: 'node-invite'; readonly node: string; readonly token: string; readonly expires_ms: number }
  | ({ readonly kind: 'node-join'; readonly token: string; readonly key: string; readonly serial: string; readonly expires_ms: number; readonly at_ms: number } & NodePlace)
  | { readonly kind: 'node-renew'; readonly node: string; readonly serial: string; readonly expires_ms: number; readonly at_ms: number }
  | ({ readonly kind: 'node-move' } & NodePlace)
  | { readonly kind: 'node-revoke'; readonly node: string; readonly at_ms: number };

/** What changed, for who signs and pushes the documents. */
export type RegistryEffect = 'membership' | 'revocation';

type Result = Applied<RegistryState, RegistryEffect>;
type Change = { readonly vo: VoState; readonly effects: readonly RegistryEffect[] } | WireError;

const refuse = (code: string, message: string): WireError => ({ code, message });

export const registryMachine: StateMachine<RegistryState, RegistryCommand, RegistryEffect> = {
  name: 'vo-registry',
  version: 1,
  initial: () => ({ vo: null }),
  apply(state, command): Result {
    const change = command.kind === 'found' ? found(state, command) : state.vo === null ? refuse('XOS_NO_VO', "this node is no VO's registry yet; found one with 'xvo create'") : applyToVo(state.vo, command);
    if ('code' in change) return { state, effects: [], refused: change };
    return { state: { vo: bumpVersions(change.vo, change.effects) }, effects: change.effects };
  },
};

function bumpVersions(vo: VoState, effects: readonly RegistryEffect[]): VoState {
  return {
    ...vo,
    membership_version: vo.membership_version + (effects.includes('membership') ? 1 : 0),
    revocation_version: vo.revocation_version + (effects.includes('revocation') ? 1 : 0),
  };
}

function applyToVo(vo: VoState, command: Exclude<RegistryCommand, { kind: 'found' }>): Change {
  switch (command.kind) {
    case 'member-add': return memberAdd(vo, command);
    case 'member-revoke': return memberRevoke(vo, command);
    case 'member-remove': return memberRemove(vo, command);
    case 'member-roles': return withMember(vo, command.user, ['membership'], () => ({ roles: command.roles }));
    case 'member-password': return withMember(vo, command.user, [], (member) => newPassword(member, command));
    case 'member-rehash': return withMember(vo, command.user, [], ({ verifier }) => (verifier === command.before ? { verifier: command.verifier } : {}));
    case 'member-unlock': return withMember(vo, command.user, ['membership'], () => ({ unlocked_ms: command.at_ms }));
    case 'login-policy': return { vo: { ...vo, login_policy: { ...vo.login_policy, ...command.change } }, effects: ['membership'] };
    // Failures are counted beside the log (attempts.ts); logs of before hold these.
    case 'login-failed':
    case 'login-succeeded': return { vo, effects: [] };
    case 'isolation': return changeIsolation(vo, command);
    case 'node-invite': return nodeInvite(vo, command);
    case 'node-join': return nodeJoin(vo, command);
    case 'node-renew': return nodeRenew(vo, command);
    case 'node-move': return nodeMove(vo, command);
    case 'node-revoke': return nodeRevoke(vo, command);
  }
}

function found(state: RegistryState, command: Extract<RegistryCommand, { kind: 'found' }>): Change {
  if (state.vo !== null) return refuse('XOS_VO_EXISTS', `this node is the registry of VO '${state.vo.vo}' already`);
  const { node, address, port, roles, serial, expires_ms } = command;
  const first: NodeEntry = { node, address, port, roles, state: 'admitted', token: null, token_expires_ms: 0, joined: null, certificates: [{ serial, expires_ms }] };
  return {
    vo: {
      vo: command.vo,
      number: command.number,
      founded_ms: command.at_ms,
      registry: node,
      members: {},
      next_user: 1,
      nodes: { [node]: first },
      revoked_users: [],
      revoked_nodes: [],
      membership_version: 0,
      revocation_version: 0,
    },
    effects: ['membership', 'revocation'],
  };
}

const own = <T>(record: Readonly<Record<string, T>>, name: string): T | undefined => (Object.hasOwn(record, name) ? record[name] : undefined);
const noMember = (vo: VoState, user: string): WireError => refuse('XOS_NO_MEMBER', `VO '${vo.vo}' has no member '${user}'; 'xvo member list' shows them`);
const noNode = (vo: VoState, node: string): WireError => refuse('XOS_NO_NODE', `VO '${vo.vo}' has no node '${node}'; 'xvo node list' shows them`);

function withMember(vo: VoState, user: string, effects: readonly RegistryEffect[], change: (member: MemberEntry) => Partial<MemberEntry>): Change {
  const member = own(vo.members, user);
  if (member === undefined) return noMember(vo, user);
  return { vo: { ...vo, members: { ...vo.members, [user]: { ...member, ...change(member) } } }, effects };
}

function memberAdd(vo: VoState, command: Extract<RegistryCommand, { kind: 'member-add' }>): Change {
  const { user, roles, verifier, at_ms } = command;
  const known = own(vo.members, user);
  if (known !== undefined) return refuse('XOS_MEMBER_EXISTS', `VO '${vo.vo}' has a member '${user}' already${known.state === 'revoked' ? ', a revoked one; remove it first' : ''}`);
  if (vo.next_user > limits.user_number_max || Object.keys(vo.members).length >= limits.members_max) return refuse('XOS_VO_FULL', `VO '${vo.vo}' has no user number left`);
  const member: MemberEntry = { user, uid: uidOf(vo.number, vo.next_user), roles, state: 'active', verifier, added_ms: at_ms, password_ms: at_ms, ...(command.change === true ? { change: true } : {}) };
  return { vo: { ...vo, members: { ...vo.members, [user]: member }, next_user: vo.next_user + 1 }, effects: ['membership'] };
}

/** How many earlier verifiers are kept at all; the policy says how many of them count. */
const history_max = 8;

function newPassword(member: MemberEntry, command: Extract<RegistryCommand, { kind: 'member-password' }>): Partial<MemberEntry> {
  const history = [member.verifier, ...(member.history ?? [])].slice(0, history_max);
  return { verifier: command.verifier, history, password_ms: command.at_ms ?? member.added_ms, change: command.change === true };
}

function memberRevoke(vo: VoState, command: Extract<RegistryCommand, { kind: 'member-revoke' }>): Change {
  const member = own(vo.members, command.user);
  if (member?.state === 'revoked') return refuse('XOS_REVOKED', `member '${command.user}' of VO '${vo.vo}' is revoked already`);
  const changed = withMember(vo, command.user, ['membership', 'revocation'], () => ({ state: 'revoked' }));
  if ('code' in changed || member === undefined) return changed;
  return { ...changed, vo: { ...changed.vo, revoked_users: [...vo.revoked_users, { uid: member.uid, user: member.user, since_ms: command.at_ms, reason: command.reason }] } };
}

function memberRemove(vo: VoState, command: Extract<RegistryCommand, { kind: 'member-remove' }>): Change {
  const member = own(vo.members, command.user);
  if (member === undefined) return noMember(vo, command.user);
  const { [command.user]: _, ...members } = vo.members;
  const listed = vo.revoked_users.some((revoked) => revoked.uid === member.uid);
  const revoked_users = listed ? vo.revoked_users : [...vo.revoked_users, { uid: member.uid, user: member.user, since_ms: command.at_ms, reason: 'removed' }];
  return { vo: { ...vo, members, revoked_users }, effects: ['membership', 'revocation'] };
}

function withNode(vo: VoState, node: string, effects: readonly RegistryEffect[], change: (entry: NodeEntry) => Partial<NodeEntry>): Change {
  const entry = own(vo.nodes, node);
  if (entry === undefined) return noNode(vo, node);
  return { vo: { ...vo, nodes: { ...vo.nodes, [node]: { ...entry, ...change(entry) } } }, effects };
}

/** null takes a setting back. */
function changeIsolation(vo: VoState, command: Extract<RegistryCommand, { kind: 'isolation' }>): Change {
  const merged = Object.entries({ ...vo.isolation, ...command.change }).filter((entry): entry is [string, string] => entry[1] !== null);
  return { vo: { ...vo, isolation: Object.fromEntries(merged) }, effects: ['membership'] };
}

/** A new node, one whose token was not used, or one that was revoked: then this is how it comes back. */
function nodeInvite(vo: VoState, command: Extract<RegistryCommand, { kind: 'node-invite' }>): Change {
  const { node, token, expires_ms } = command;
  const known = own(vo.nodes, node);
  if (known?.state === 'admitted') return refuse('XOS_NODE_EXISTS', `node '${node}' takes part in VO '${vo.vo}' already; revoke it first if its keys are lost`);
  if (known === undefined && Object.keys(vo.nodes).length >= limits.nodes_max) return refuse('XOS_VO_FULL', `VO '${vo.vo}' has ${limits.nodes_max} nodes already`);
  const entry: NodeEntry = known ?? { node, address: '', port: 0, roles: [], state: 'invited', token: null, token_expires_ms: 0, joined: null, certificates: [] };
  return { vo: { ...vo, nodes: { ...vo.nodes, [node]: { ...entry, state: 'invited', token, token_expires_ms: expires_ms } } }, effects: ['membership'] };
}

function nodeJoin(vo: VoState, command: Extract<RegistryCommand, { kind: 'node-join' }>): Change {
  const { node, token, key, address, port, roles, serial, expires_ms, at_ms } = command;
  const entry = own(vo.nodes, node);
  if (entry === undefined) return noNode(vo, node);
  if (!tokenFits(entry, token, key)) return refuse('XOS_BAD_TOKEN', `the join token of node '${node}' is not (or no more) good; a token works once; make a new one with 'xvo node invite ${vo.vo} ${node}'`);
  if (at_ms > entry.token_expires_ms) return refuse('XOS_TOKEN_EXPIRED', `the join token of node '${node}' expired ${new Date(entry.token_expires_ms).toISOString()}; make a new one with 'xvo node invite ${vo.vo} ${node}'`);
  return withNode(vo, node, ['membership'], () => ({ address, port, roles, state: 'admitted', token: null, joined: { token, key }, certificates: [...living(entry, at_ms), { serial, expires_ms }] }));
}

/** True for the token of an open invitation, and for the one just used when the same key asks again. */
export function tokenFits(entry: NodeEntry, token: string, key: string): boolean {
  if (entry.token !== null) return entry.token === token;
  return entry.state === 'admitted' && entry.joined?.token === token && entry.joined.key === key;
}

const living = (entry: NodeEntry, at_ms: number): NodeEntry['certificates'] => entry.certificates.filter((certificate) => certificate.expires_ms > at_ms);

function nodeRenew(vo: VoState, command: Extract<RegistryCommand, { kind: 'node-renew' }>): Change {
  const { node, serial, expires_ms, at_ms } = command;
  if (own(vo.nodes, node)?.state !== 'admitted') return refuse('XOS_NOT_ADMITTED', `node '${node}' takes no part in VO '${vo.vo}'`);
  return withNode(vo, node, [], (entry) => ({ certificates: [...living(entry, at_ms), { serial, expires_ms }] }));
}

function nodeMove(vo: VoState, command: Extract<RegistryCommand, { kind: 'node-move' }>): Change {
  const { node, address, port, roles } = command;
  return withNode(vo, node, ['membership'], () => ({ address, port, roles }));
}

function nodeRevoke(vo: VoState, command: Extract<RegistryCommand, { kind: 'node-revoke' }>): Change {
  const { node, at_ms } = command;
  if (node === vo.registry) return refuse('XOS_DENIED', `node '${node}' is the registry of VO '${vo.vo}' and cannot be revoked`);
  const entry = own(vo.nodes, node);
  if (entry === undefined) return noNode(vo, node);
  if (entry.state === 'revoked') return refuse('XOS_REVOKED', `node '${node}' is revoked already`);
  const void_now = living(entry, at_ms).map(({ serial }) => ({ node, serial, since_ms: at_ms }));
  const changed = withNode(vo, node, ['membership', 'revocation'], () => ({ state: 'revoked', token: null, joined: null, certificates: [] }));
  return 'code' in changed ? changed : { ...changed, vo: { ...changed.vo, revoked_nodes: [...vo.revoked_nodes, ...void_now] } };
}

/** What every node may know; verifiers, locks and tokens stay with the registry. */
export function membershipOf(vo: VoState, issued_ms: number): MembershipDocument {
  return {
    kind: 'membership',
    vo: vo.vo,
    number: vo.number,
    version: vo.membership_version,
    issued_ms,
    expires_ms: issued_ms + limits.document_ms,
    registry: vo.registry,
    ...(vo.isolation === undefined ? {} : { isolation: vo.isolation }),
    login: policyOf(vo.login_policy),
    members: Object.values(vo.members).map(({ user, uid, roles, state, unlocked_ms }) => ({ user, uid, roles, state, ...(unlocked_ms === undefined ? {} : { unlocked_ms }) })),
    nodes: Object.values(vo.nodes).map(({ node, address, port, roles, state }) => ({ node, address, port, roles, state })),
  };
}

export function revocationOf(vo: VoState, issued_ms: number): RevocationDocument {
  const { revoked_users: users, revoked_nodes: nodes } = vo;
  return { kind: 'revocation', vo: vo.vo, number: vo.number, version: vo.revocation_version, issued_ms, expires_ms: issued_ms + limits.document_ms, users, nodes };
}

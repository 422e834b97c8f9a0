import { XosError } from '../../core/errors.ts';
import { parseNodeId, parseRole, parseUserName } from '../../core/ids.ts';
import { limits } from '../../core/limits.ts';
import type { OperationName, Request, Response } from '../../api/operations.ts';
import type { MemberDetails, MemberSummary, NodeSummary } from '../../api/operations/admin.ts';
import { parsePolicyChange, policyOf } from '../login-policy.ts';
import { checkNewPassword, makeVerifier } from '../password.ts';
import type { Registry } from '../registry.ts';
import type { MemberEntry, NodeEntry } from '../state.ts';
import { encodeToken, secretHash } from '../token.ts';
import { readSetting } from '../../isolation/policy.ts';
import { changePassword } from './change-password.ts';
import { failuresOf, forgetFailures } from './password-try.ts';

/** On whose behalf an operation runs; `admin` is root of the registry's node or a member with that role. */
export interface AdminCaller {
  /** Name of the member; null for root. */
  readonly user: string | null;
  readonly admin: boolean;
  /** The node that it works on. */
  readonly node: string;
}

export type AdminOperation = Exclude<keyof import('../../api/operations/admin.ts').AdminOperations, 'vo-create'> & OperationName;
type Handler<N extends AdminOperation> = (registry: Registry, request: Request<N>, caller: AdminCaller) => Promise<Response<N>>;

/** What any member, and root of any node, may ask. */
const open_to_members: ReadonlySet<string> = new Set<AdminOperation>(['vo-show', 'member-list', 'node-list', 'vo-policy-show', 'login-policy-show']);

const operations: { readonly [N in AdminOperation]: Handler<N> } = {
  'vo-show': async (registry) => {
    const vo = registry.require();
    const count = { members: Object.keys(vo.members).length, nodes: Object.values(vo.nodes).filter((node) => node.state === 'admitted').length };
    return { vo: vo.vo, number: vo.number, root_fingerprint: registry.rootFingerprint(), registry: vo.registry, founded_ms: vo.founded_ms, version: vo.membership_version, ...count };
  },

  'member-add': async (registry, request) => {
    const user = parseUserName(request.user);
    const roles = rolesOf(request.roles);
    if (Object.hasOwn(registry.require().members, user)) throw new XosError('XOS_MEMBER_EXISTS', `VO '${registry.require().vo}' has a member '${user}' already`, { user });
    const policy = policyOf(registry.require().login_policy);
    const verifier = await makeVerifier(checkNewPassword(request.password, policy.password_length_min), policy.password_cost, registry.ports.random);
    await registry.propose({ kind: 'member-add', user, roles, verifier, ...(request.change === true ? { change: true } : {}), at_ms: registry.ports.clock.now_ms() });
    return memberSummary(registry, user);
  },

  'member-show': async (registry, request) => memberDetails(registry, parseUserName(request.user)),

  'member-unlock': async (registry, request) => {
    const user = parseUserName(request.user);
    await registry.propose({ kind: 'member-unlock', user, at_ms: registry.ports.clock.now_ms() });
    forgetFailures(registry, user);
    return memberDetails(registry, user);
  },

  'member-list': async (registry) => ({ members: Object.keys(registry.require().members).sort().map((user) => memberSummary(registry, user)) }),

  'member-revoke': async (registry, request) => {
    const user = parseUserName(request.user);
    const reason = String(request.reason ?? '').slice(0, 200);
    await registry.propose({ kind: 'member-revoke', user, reason, at_ms: registry.ports.clock.now_ms() });
    return memberSummary(registry, user);
  },

  'member-remove': async (registry, request) => {
    await registry.propose({ kind: 'member-remove', user: parseUserName(request.user), at_ms: registry.ports.clock.now_ms() });
    return {};
  },

  'member-roles': async (registry, request) => {
    const user = parseUserName(request.user);
    await registry.propose({ kind: 'member-roles', user, roles: rolesOf(request.roles) });
    return memberSummary(registry, user);
  },

  'member-password': async (registry, request, caller) => {
    const user = parseUserName(request.user);
    const policy = policyOf(registry.require().login_policy);
    const password = checkNewPassword(request.password, policy.password_length_min);
    if (!caller.admin || request.old !== undefined) {
      await changePassword(registry, { user, old: String(request.old ?? ''), password, rhost: '' }, { node: caller.node, signal: new AbortController().signal });
    } else {
      const verifier = await makeVerifier(password, policy.password_cost, registry.ports.random);
      await registry.propose({ kind: 'member-password', user, verifier, ...(request.change === true ? { change: true } : {}), at_ms: registry.ports.clock.now_ms() });
      forgetFailures(registry, user);
    }
    return {};
  },

  'login-policy-show': async (registry) => policyOf(registry.require().login_policy),

  'login-policy-set': async (registry, request) => {
    await registry.propose({ kind: 'login-policy', change: parsePolicyChange(request.change) });
    return policyOf(registry.require().login_policy);
  },

  'vo-policy-show': async (registry) => ({ policy: registry.require().isolation ?? {} }),
  'vo-policy-set': async (registry, request) => {
    const given = Object.entries(request.change ?? {});
    const change = Object.fromEntries(given.map(([name, text]) => (text === null ? [name.slice(0, 80), null] : Object.values(readSetting(name, text)))) as [string, string | null][]);
    await registry.propose({ kind: 'isolation', change });
    return { policy: registry.require().isolation ?? {} };
  },

  'node-invite': (registry, request) => invite(registry, parseNodeId(request.node)),
  'node-admit': (registry, request) => {
    const node = parseNodeId(request.node);
    const state = registry.require().nodes[node]?.state;
    if (state !== 'revoked') throw new XosError('XOS_DENIED', `node '${node}' is ${state === undefined ? 'not known' : `${state}, not revoked`}; 'xvo node invite' lets a new node in`, { node });
    return invite(registry, node);
  },

  'node-list': async (registry) => ({ nodes: Object.keys(registry.require().nodes).sort().map((node) => nodeSummary(registry, node)) }),

  'node-revoke': async (registry, request) => {
    const node = parseNodeId(request.node);
    await registry.propose({ kind: 'node-revoke', node, at_ms: registry.ports.clock.now_ms() });
    return nodeSummary(registry, node);
  },
};

export const admin_operations = Object.keys(operations) as readonly AdminOperation[];

/** Checks that the caller may, runs the operation, and writes a line to the registry's log. Throws XOS_DENIED. */
export async function administer<N extends AdminOperation>(registry: Registry, operation: N, request: Request<N>, caller: AdminCaller): Promise<Response<N>> {
  const handler = Object.hasOwn(operations, operation) ? operations[operation] : undefined;
  if (handler === undefined) throw new XosError('XOS_NO_OPERATION', `there is no operation '${String(operation).slice(0, 80)}'`);
  const own_password = operation === 'member-password' && caller.user !== null && (request as Request<'member-password'>).user === caller.user;
  if (!caller.admin && !open_to_members.has(operation) && !own_password) {
    throw new XosError('XOS_DENIED', `'${operation}' needs the role 'admin' in VO '${registry.require().vo}', or root on its registry's node '${registry.require().registry}'`, { operation });
  }
  const response = await handler(registry, request, caller);
  if (!open_to_members.has(operation)) registry.ports.log.info('administration', { operation, by: caller.user ?? 'root' });
  return response;
}

async function invite(registry: Registry, node: string): Promise<{ node: string; token: string; expires_ms: number }> {
  const { clock, random } = registry.ports;
  const vo = registry.require();
  const secret = random.bytes(32);
  const expires_ms = clock.now_ms() + limits.join_token_ms;
  await registry.propose({ kind: 'node-invite', node, token: secretHash(secret), expires_ms });
  const home = vo.nodes[vo.registry]!;
  const token = { vo: vo.vo, node, registry: vo.registry, address: home.address, port: home.port, root: registry.rootFingerprint(), secret: secret.toString('hex'), expires_ms };
  return { node, token: encodeToken(token), expires_ms };
}

function rolesOf(value: unknown): readonly string[] {
  if (!Array.isArray(value) || value.length > 16) throw new XosError('XOS_BAD_ARGUMENT', 'roles must be a list of at most 16 names');
  return [...new Set(value.map(parseRole))];
}

function memberSummary(registry: Registry, user: string): MemberSummary {
  const vo = registry.require();
  const { uid, roles, state, added_ms }: MemberEntry = vo.members[user]!;
  return { user, vo: vo.vo, uid, roles, state, added_ms };
}

function memberDetails(registry: Registry, user: string): MemberDetails {
  const vo = registry.require();
  if (!Object.hasOwn(vo.members, user)) throw new XosError('XOS_NO_MEMBER', `VO '${vo.vo}' has no member '${user}'; 'xvo member list' shows them`, { user });
  const { added_ms, password_ms = added_ms, change = false }: MemberEntry = vo.members[user]!;
  return { ...memberSummary(registry, user), password_ms, change, ...failuresOf(registry, user) };
}

function nodeSummary(registry: Registry, node: string): NodeSummary {
  const { address, port, roles, state, certificates }: NodeEntry = registry.require().nodes[node]!;
  return { node, address, port, roles, state, certificate_expires_ms: certificates.at(-1)?.expires_ms ?? null };
}

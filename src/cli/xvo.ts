#!/usr/lib/xos/bin/node
import type { MemberDetails, MemberSummary, NodeSummary, VoSummary } from '../api/operations/admin.ts';
import { XosError } from '../core/errors.ts';
import { policy_keys, policy_rules, showValue, type PolicyKey } from '../isolation/policy.ts';
import { ask } from './lib/api.ts';
import { commonExitStatus, defineCommand, jsonOption, type ArgumentSpec, type Call, type Command, type OptionSpecs } from './lib/command.ts';
import { runIfMain } from './lib/main.ts';
import { newPassword } from './lib/password.ts';
import { formatTable, tableWidth } from './lib/table.ts';
import type { LoginPolicy } from '../vo/login-policy.ts';

const vo_argument: ArgumentSpec = { name: 'VO', summary: 'the virtual organisation; this node must be part of it', complete: 'none' };
const user_argument: ArgumentSpec = { name: 'USER', summary: 'name of the member in the VO, for instance alice', complete: 'none' };
const node_argument: ArgumentSpec = { name: 'NODE', summary: 'id of the node, as in its /etc/xos/node.json', complete: 'node' };

const passwordOptions = { 'password-stdin': { kind: 'flag', summary: 'read the password from the first line of standard input' } } as const;
const roleOption = { kind: 'list', value: 'ROLE', summary: 'a role of the member; admin may change the VO' } as const;

const changeOption = { kind: 'flag', summary: 'the password is good for one login, which asks for another one' } as const;

const day = (ms: number): string => new Date(ms).toISOString().slice(0, 10);

/** The words are checked against the VO of this node, so that a command for another VO never changes this one. */
async function sameVo(call: Call, vo: string): Promise<void> {
  const status = await ask(call, 'status', {});
  if (status.vo === vo) return;
  const here = status.vo === null ? 'is in no VO yet' : `is part of VO '${status.vo}'`;
  throw new XosError('XOS_NO_VO', `cannot work on VO '${vo}': node '${status.node}' ${here}`, { vo });
}

/** A command whose first argument is the VO. */
function onVo<const O extends OptionSpecs>(command: Omit<Command<O>, 'run'>, run: (call: Call<O>, first: string) => Promise<number | void>): Command {
  return {
    ...command,
    arguments: [vo_argument, ...(command.arguments ?? [])],
    run: async (call: Call<O>) => {
      await sameVo(call as unknown as Call, call.args[0]!);
      return await run(call, call.args[1] ?? '');
    },
  } as unknown as Command;
}

function showVo(call: Call, vo: VoSummary): void {
  const rows = [
    ['VO', `${vo.vo} (number ${vo.number}), founded ${day(vo.founded_ms)}`], ['registry', `node ${vo.registry}`],
    ['members', String(vo.members)], ['nodes', String(vo.nodes)], ['root', `SHA-256 ${vo.root_fingerprint}`],
  ] as const;
  for (const [name, value] of rows) call.out.write(`${name.padEnd(9)} ${value}\n`);
}

const createOptions = {
  number: { kind: 'number', value: 'N', summary: 'number of the VO, which is part of its uids; two VOs that share a machine must differ', min: 1, max: 4095, integer: true },
  json: jsonOption,
} as const;
const create: Command<typeof createOptions> = {
  name: 'create',
  summary: 'found a VO with this node as its registry',
  description: ['Makes the keys and certificates of the VO. Its root key is written to a file of its own, which you are to move to a safe place off the machine: it is only needed to replace the others.'],
  options: createOptions,
  arguments: [{ ...vo_argument, summary: 'name of the new VO' }],
  run: async (call) => {
    const request = call.options.number === undefined ? { vo: call.args[0]! } : { vo: call.args[0]!, number: call.options.number };
    const made = await ask(call as Call, 'vo-create', request);
    if (call.options.json) return call.json(made);
    showVo(call as Call, made);
    call.note(`move the root key '${made.root_key_file}' to a safe place off this machine`);
  },
};

const show = onVo({ name: 'show', summary: 'show a VO', description: [], options: { json: jsonOption } }, async (call) => {
  const vo = await ask(call as Call, 'vo-show', {});
  if (call.options.json) return call.json(vo);
  showVo(call as Call, vo);
});

const list: Command<{ readonly json: typeof jsonOption }> = {
  name: 'list',
  summary: 'show the VOs that this node is part of',
  description: [],
  options: { json: jsonOption },
  run: async (call) => {
    const { vo } = await ask(call as Call, 'status', {});
    const found = vo === null ? [] : [await ask(call as Call, 'vo-show', {})];
    if (call.options.json) return call.json(found);
    if (found.length === 0) call.note('this node is part of no VO');
    else call.out.write(formatTable([
      { title: 'VO', value: (each) => each.vo }, { title: 'REGISTRY', value: (each) => each.registry },
      { title: 'MEMBERS', value: (each) => String(each.members), align: 'right' }, { title: 'NODES', value: (each) => String(each.nodes), align: 'right' },
    ], found, tableWidth(call.out)));
  },
};

function showMember(call: Call, member: MemberSummary, json: boolean): void {
  if (json) call.json(member);
  else call.out.write(`${member.user}@${member.vo} has uid ${member.uid}${member.roles.length === 0 ? '' : `, roles ${member.roles.join(' ')}`}, ${member.state}\n`);
}

/** A password that was made up is shown this once; it stands nowhere else. */
function showPassword(call: Call, made: string | null): void {
  if (made !== null) call.out.write(`password: ${made}\n`);
}

const addOptions = { role: roleOption, ...passwordOptions, change: changeOption, json: jsonOption } as const;
const memberAdd = onVo(
  {
    name: 'member add',
    summary: 'make a user a member',
    description: ['The member is known on every node at once. The password is asked for twice on a terminal, read with `--password-stdin`, or else made up and shown once.'],
    options: addOptions,
    arguments: [user_argument],
  },
  async (call, user) => {
    const { password, made } = await newPassword(call as unknown as Call, `${user}@${call.args[0]}`, call.options['password-stdin']);
    const member = await ask(call as unknown as Call, 'member-add', { user, roles: call.options.role, password, change: call.options.change });
    if (call.options.json) return call.json(made === null ? member : { ...member, password: made });
    showMember(call as unknown as Call, member, false);
    showPassword(call as unknown as Call, made);
  },
);

const memberList = onVo({ name: 'member list', summary: 'show the members', description: [], options: { json: jsonOption } }, async (call) => {
  const { members } = await ask(call as Call, 'member-list', {});
  if (call.options.json) return call.json(members);
  call.out.write(formatTable([
    { title: 'USER', value: (each) => each.user }, { title: 'UID', value: (each) => String(each.uid), align: 'right' },
    { title: 'STATE', value: (each) => each.state }, { title: 'SINCE', value: (each) => day(each.added_ms) },
    { title: 'ROLES', value: (each) => each.roles.join(' ') || '-', flexible: true },
  ], members, tableWidth(call.out)));
});

const time = (ms: number): string => new Date(ms).toISOString().slice(0, 19).replace('T', ' ');
const waiting = (until_ms: number | null): string => (until_ms === null ? '' : `, waits until ${time(until_ms)}`);

function showDetails(call: Call, member: MemberDetails, json: boolean): void {
  if (json) return call.json(member);
  const rows = [
    ['member', `${member.user}@${member.vo}, uid ${member.uid}, ${member.state}`], ['roles', member.roles.join(' ') || '-'],
    ['password', `set ${time(member.password_ms)}${member.change ? ', to be changed at the next login' : ''}`],
    ['failures', `${member.failures} at all nodes since the last right password${waiting(member.locked_until_ms)}`],
    ...member.places.map(({ node, failures, locked_until_ms }) => ['', `${failures} at node ${node}${waiting(locked_until_ms)}`]),
  ] as const;
  for (const [name, value] of rows) call.out.write(`${name!.padEnd(9)} ${value}\n`);
}
const memberShow = onVo(
  { name: 'member show', summary: 'show a member and its failed logins', description: ['Failures of the last hour. Times are UTC.'], options: { json: jsonOption }, arguments: [user_argument] },
  async (call, user) => showDetails(call as Call, await ask(call as Call, 'member-show', { user }), call.options.json),
);
const memberUnlock = onVo(
  {
    name: 'member unlock',
    summary: 'forget the failed logins of a member',
    description: ['Wrong passwords make further tries wait, a minute at most. This ends the wait, on every node; what is counted against remote hosts stays.'],
    options: { json: jsonOption },
    arguments: [user_argument],
  },
  async (call, user) => showDetails(call as Call, await ask(call as Call, 'member-unlock', { user }), call.options.json),
);

/** `NAME=VALUE` words as a change of the policy; what they may be, the registry says. */
const policyChange = (words: readonly string[]): Partial<LoginPolicy> => Object.fromEntries(words.map((word) => {
  const [name = '', value = ''] = word.split(/=(.*)/s);
  return [name.replaceAll('-', '_'), /^[0-9]{1,6}$/.test(value) ? Number(value) : value];
}));
const loginPolicy = onVo(
  {
    name: 'login-policy',
    summary: 'show or change what the VO says about logins',
    description: [
      'Without NAME=VALUE shows the policy. `password-length-min`: characters of a new password. `password-history`: so many of the last ones may not be used again. ' +
        '`password-days-max`: after so many days a login asks for another one; 0 never. `password-cost`: what a hash of a password takes, for who guesses as for each login: 4 is 8 MiB and some 10 ms, each one more twice that; 5 is what Debian takes for its own users, 9 the most. It holds for each member from the next login on. `offline-hours-max`: so long after a login may a member log in to a node that the registry cannot be reached from; 0 never. ' +
        '`logout`: `leave` lets jobs in the background go on, `kill` ends them.',
    ],
    options: { json: jsonOption },
    arguments: [{ name: 'NAME=VALUE', summary: 'what to change', optional: true, repeated: true }],
  },
  async (call) => {
    const words = call.args.slice(1);
    const policy = words.length === 0 ? await ask(call as Call, 'login-policy-show', {}) : await ask(call as Call, 'login-policy-set', { change: policyChange(words) });
    if (call.options.json) return call.json(policy);
    for (const [name, value] of Object.entries(policy)) call.out.write(`${name.replaceAll('_', '-').padEnd(20)} ${value}\n`);
  },
);

const revokeOptions = { reason: { kind: 'text', value: 'TEXT', summary: 'why, for the log' }, json: jsonOption } as const;
const memberRevoke = onVo(
  {
    name: 'member revoke',
    summary: 'shut a member out',
    description: ["Ends the member's sessions and jobs on all nodes within seconds. Name, uid and files stay."],
    options: revokeOptions,
    arguments: [user_argument],
  },
  async (call, user) => {
    const { reason } = call.options;
    showMember(call as unknown as Call, await ask(call as unknown as Call, 'member-revoke', reason === undefined ? { user } : { user, reason }), call.options.json);
  },
);

const memberRemove = onVo(
  { name: 'member remove', summary: 'take a member out of the VO', description: ['As `revoke`, and the name may be given to somebody else. The uid never is, and the files stay.'], options: {}, arguments: [user_argument] },
  async (call, user) => void (await ask(call as Call, 'member-remove', { user })),
);

const memberRole = onVo(
  { name: 'member role', summary: 'set the roles of a member', description: ['Replaces the roles; none takes all away.'], options: { json: jsonOption }, arguments: [user_argument, { name: 'ROLE', summary: 'a role, for instance admin', optional: true, repeated: true }] },
  async (call, user) => showMember(call as Call, await ask(call as Call, 'member-roles', { user, roles: call.args.slice(2) }), call.options.json),
);

const memberPassword = onVo(
  {
    name: 'member passwd',
    summary: 'set the password of a member',
    description: ['For an admin, who need not know the old one. Members change their own with `passwd`.'],
    options: { ...passwordOptions, change: changeOption, json: jsonOption },
    arguments: [user_argument],
  },
  async (call, user) => {
    const { password, made } = await newPassword(call as unknown as Call, `${user}@${call.args[0]}`, call.options['password-stdin']);
    await ask(call as unknown as Call, 'member-password', { user, password, change: call.options.change });
    if (call.options.json) return call.json(made === null ? {} : { password: made });
    showPassword(call as unknown as Call, made);
  },
);

function showPolicy(call: Call, policy: Readonly<Record<string, string>>, json: boolean): void {
  const set = policy_keys.filter((key) => Object.hasOwn(policy, key));
  if (json) return call.json(policy);
  if (set.length === 0) return call.note(`VO ${call.args[0]} has no policy: what its jobs may have is left to each node ('xnode limits')`);
  call.out.write(formatTable([
    { title: 'POLICY', value: (key: PolicyKey) => key }, { title: 'VALUE', value: (key) => showValue(key, policy[key]!) },
    { title: 'WHAT IT IS', value: (key) => policy_rules[key].summary, flexible: true },
  ], set, tableWidth(call.out)));
}
const policyShow = onVo(
  { name: 'policy show', summary: 'show what the VO wants for its jobs', description: ['What holds on a node, where its owner has a say too, is shown by `xnode limits` there.'], options: { json: jsonOption } },
  async (call) => showPolicy(call as Call, (await ask(call as Call, 'vo-policy-show', {})).policy, call.options.json),
);
const policySet = onVo(
  {
    name: 'policy set',
    summary: 'say what the jobs of the VO may have',
    description: [
      'Every node follows within seconds; of what the VO and the owner of a node say, the narrower one holds. `KEY=` takes a setting back. A changed limit holds for jobs that run, a changed view (network, isolated, trust, devices) for jobs that start.',
      ...policy_keys.map((key) => `\`${key}\`: ${policy_rules[key].summary}; ${policy_rules[key].rule}.`),
    ],
    options: { json: jsonOption },
    arguments: [{ name: 'KEY=VALUE', summary: 'a setting, for instance memory.max=4G', repeated: true, complete: policy_keys.map((key) => `${key}=`) }],
  },
  async (call) => {
    const change = Object.fromEntries(call.args.slice(1).map((text) => {
      const at = text.indexOf('=');
      if (at < 1) throw new XosError('XOS_BAD_ARGUMENT', `cannot read the setting '${text}': write KEY=VALUE`, { text });
      return [text.slice(0, at), at === text.length - 1 ? null : text.slice(at + 1)];
    }));
    showPolicy(call as Call, (await ask(call as Call, 'vo-policy-set', { change })).policy, call.options.json);
  },
);

const showToken = (call: Call, answer: { readonly node: string; readonly token: string; readonly expires_ms: number }, json: boolean): void => {
  if (json) return call.json(answer);
  call.note(`put this token into node ${answer.node}'s /etc/xos/node.json as "join"; it works once, until ${new Date(answer.expires_ms).toISOString()}`);
  call.out.write(`${answer.token}\n`);
};
const nodeInvite = onVo(
  { name: 'node invite', summary: 'let a node join', description: ['Prints a join token. Whoever has it can be that node: hand it over as you would a password.'], options: { json: jsonOption }, arguments: [node_argument] },
  async (call, node) => showToken(call as Call, await ask(call as Call, 'node-invite', { node }), call.options.json),
);
const nodeAdmit = onVo(
  { name: 'node admit', summary: 'let a revoked node join again', description: ['The node needs a new certificate: prints a join token, as `node invite` does.'], options: { json: jsonOption }, arguments: [node_argument] },
  async (call, node) => showToken(call as Call, await ask(call as Call, 'node-admit', { node }), call.options.json),
);

function nodeTable(nodes: readonly NodeSummary[], call: Call): string {
  return formatTable([
    { title: 'NODE', value: (each) => each.node }, { title: 'STATE', value: (each) => each.state },
    { title: 'ADDRESS', value: (each) => (each.address === '' ? '-' : each.address.includes(':') ? `[${each.address}]:${each.port}` : `${each.address}:${each.port}`) },
    { title: 'CERTIFIED TO', value: (each) => (each.certificate_expires_ms === null ? '-' : day(each.certificate_expires_ms)) },
    { title: 'ROLES', value: (each) => each.roles.join(' ') || '-', flexible: true },
  ], nodes, tableWidth(call.out));
}
const nodeList = onVo({ name: 'node list', summary: 'show the nodes of the VO', description: [], options: { json: jsonOption } }, async (call) => {
  const { nodes } = await ask(call as Call, 'node-list', {});
  if (call.options.json) call.json(nodes);
  else call.out.write(nodeTable(nodes, call as Call));
});
const nodeRevoke = onVo(
  { name: 'node revoke', summary: 'put a node out of the VO', description: ['Its certificate is void at once; sessions that began there end on all nodes.'], options: { json: jsonOption }, arguments: [node_argument] },
  async (call, node) => {
    const revoked = await ask(call as Call, 'node-revoke', { node });
    if (call.options.json) call.json(revoked);
    else call.out.write(nodeTable([revoked], call as Call));
  },
);

export const command = defineCommand({
  name: 'xvo',
  section: 8,
  summary: 'administer a virtual organisation',
  description: [
    'Founds a VO, and looks after its members and nodes. Changes are allowed to root on the node of the registry, and to members with the role admin on the node where they logged in.',
  ],
  synopsis: [
    'create VO [--number N] [--json]', 'show VO | list [--json]', 'member add VO USER [--role ROLE]... [--password-stdin] [--json]',
    'member list VO [--json]', 'member show | unlock | revoke | remove | passwd | role VO USER', 'login-policy VO [NAME=VALUE]... [--json]', 'node invite | admit | revoke VO NODE [--json]', 'node list VO [--json]',
    'policy show VO [--json]', 'policy set VO KEY=VALUE... [--json]',
  ],
  options: {},
  subcommands: [
    create as unknown as Command, show, list as unknown as Command,
    memberAdd, memberList, memberShow, memberUnlock, memberRevoke, memberRemove, memberRole, memberPassword, loginPolicy,
    nodeInvite, nodeList, nodeRevoke, nodeAdmit, policyShow, policySet,
  ],
  examples: [
    { text: 'found a VO and add its first member', line: 'xvo create demo && xvo member add demo alice --role admin' },
    { text: 'bound what the VO takes on each node', line: 'xvo policy set demo memory.max=8G pids.max=4096 network=none' },
    { text: 'let a second machine join', line: 'xvo node invite demo n2' },
    { text: 'let nobody in who cannot be checked', line: 'xvo login-policy demo offline-hours-max=0' },
  ],
  exitStatus: commonExitStatus,
  files: [{ name: '/var/lib/xos/registry', summary: "state and keys of the registry: back it up, readable by root only" }],
  seeAlso: [['xnode', 1], ['xps', 1]],
});

await runIfMain(import.meta, command);

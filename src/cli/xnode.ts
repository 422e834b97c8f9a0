#!/usr/lib/xos/bin/node
import type { NodeRow } from '../job/rows.ts';
import { showValue } from '../isolation/policy.ts';
import { ask } from './lib/api.ts';
import { commonExitStatus, defineCommand, jsonOption, type Call, type Command } from './lib/command.ts';
import { runIfMain } from './lib/main.ts';
import { formatTable, tableWidth } from './lib/table.ts';
import { formatBytes } from './lib/units.ts';
import { setUpCommands } from './node/commands.ts';
import { describe } from './node/describe.ts';
import { overlay } from './node/overlay.ts';

const listOptions = {
  quiet: { kind: 'flag', short: 'q', summary: 'print the names of ready nodes only' },
  json: jsonOption,
} as const;

const list: Command<typeof listOptions> = {
  name: 'list',
  summary: 'show the nodes of the VO',
  description: [
    'Shows each node as this one sees it: `ready` when all services of its roles are up, `starting` while one is not, `silent` when it has not been heard for five seconds, `invited` until it joins, `revoked` when it was put out of the VO.',
    'JOBS are the grid jobs that hold a CPU there, LOAD the CPUs in use by anything else, FREE the memory that is available.',
  ],
  options: listOptions,
  run: async (call) => {
    const { nodes } = await ask(call as Call, 'node-states', {});
    if (call.options.json) return call.json(nodes);
    if (call.options.quiet) return void nodes.filter(({ state }) => state === 'ready').forEach(({ node }) => call.out.write(`${node}\n`));
    call.out.write(nodeTable(nodes, call as Call));
  },
};

const statusOptions = { json: jsonOption } as const;

const status: Command<typeof statusOptions> = {
  name: 'status',
  summary: 'show the state of this node',
  description: ['Shows whether this node is in a VO and which of its services are up. Works also before the node has joined.'],
  options: statusOptions,
  run: async (call) => {
    const state = await ask(call as Call, 'status', {});
    if (call.options.json) return call.json(state);
    const why = state.reason === '' ? '' : `: ${state.reason}`;
    call.out.write(`node ${state.node}${state.vo === null ? '' : ` of VO ${state.vo}`} is ${state.state}${why}\n`);
    call.out.write(`address ${state.address}, roles ${state.roles.join(' ')}, ${state.sessions} sessions, version ${state.version}\n`);
    if (state.services.length > 0) {
      call.out.write(formatTable([
        { title: 'SERVICE', value: (each) => each.name }, { title: 'STATE', value: (each) => (each.up ? 'up' : 'down') },
        { title: 'DETAIL', value: (each) => each.detail, flexible: true },
      ], state.services, tableWidth(call.out)));
    }
  },
};

const limits: Command<typeof statusOptions> = {
  name: 'limits',
  summary: 'show what jobs may have on this node',
  description: [
    'Shows each policy with who decided: the VO (`xvo policy`), the site, which is the owner of this node (/etc/xos/site.json), or nobody, then by default. Of what the VO and the site say, the narrower one holds; INSTEAD OF is what the other one wanted.',
  ],
  options: statusOptions,
  run: async (call) => {
    const answer = await ask(call as Call, 'node-limits', {});
    if (call.options.json) return call.json(answer);
    call.out.write(formatTable([
      { title: 'POLICY', value: (each) => each.key }, { title: 'VALUE', value: (each) => showValue(each.key, each.value) }, { title: 'BY', value: (each) => each.by },
      { title: 'INSTEAD OF', value: (each) => (each.instead_of === null ? '-' : showValue(each.key, each.instead_of)), flexible: true },
    ], answer.limits, tableWidth(call.out)));
    if (!answer.enforced) call.note('this node has no cgroup v2: only network, isolated, trust and devices hold here');
    if (answer.problem !== '') call.note(answer.problem);
  },
};

export const command = defineCommand({
  name: 'xnode',
  summary: 'show the nodes of the grid, and make this machine one',
  description: ['Without a subcommand: as `xnode list`.'],
  synopsis: [
    '[list] [--quiet] [--json]', 'status [--json]', 'limits [--json]', 'describe [--unset NAME]... [--life N] [--json] [NAME=VALUE]...', 'overlay [--json]', 'join TOKEN [--address ADDRESS] [--role ROLE]... [--timeout N] [--json]',
    'found VO [--admin USER] [--password-stdin] [--node NODE] [--number N] [--address ADDRESS] [--role ROLE]... [--timeout N] [--json]', 'leave [--force] [--json]', 'setup',
  ],
  options: listOptions,
  subcommands: [list as Command, status as Command, limits as Command, describe as unknown as Command, overlay as unknown as Command, ...setUpCommands],
  examples: [{ text: 'the nodes at a glance', line: 'xnode' }, { text: 'why is this node not ready', line: 'xnode status' },
    { text: 'what may jobs have here, and who says so', line: 'xnode limits' },
    { text: 'a first node, and a second one', line: 'xnode found demo --admin alice && xvo node invite demo n2' }],
  files: [{ name: '/etc/xos/node.json', summary: 'configuration of the node, as join and found write it' }, { name: '/etc/xos/site.json', summary: 'what the owner of the node grants to VOs, see xos-site(5)' }],
  exitStatus: commonExitStatus,
  seeAlso: [['xps', 1], ['xvo', 8], ['xos-site', 5], ['xosd', 8], ['xos', 7]],
  run: (call) => list.run?.(call) ?? Promise.resolve(),
});

const nodeTable = (nodes: readonly NodeRow[], call: Call): string => formatTable([
  { title: 'NODE', value: (each) => `${each.node}${each.here ? ' *' : ''}` },
  { title: 'STATE', value: (each) => each.state },
  { title: 'ADDRESS', value: (each) => each.address },
  { title: 'CPUS', value: (each) => (each.cpus === 0 ? '-' : `${each.cpus}`), align: 'right' },
  { title: 'JOBS', value: (each) => (each.cpus === 0 ? '-' : `${each.running}`), align: 'right' },
  { title: 'LOAD', value: (each) => (each.cpus === 0 ? '-' : each.load.toFixed(2)), align: 'right' },
  { title: 'FREE', value: (each) => (each.cpus === 0 ? '-' : formatBytes(each.memory_free_bytes)), align: 'right' },
  { title: 'ROLES', value: (each) => each.roles.join(' '), flexible: true },
  { title: 'DETAIL', value: (each) => each.detail, flexible: true },
], nodes, tableWidth(call.out));

await runIfMain(import.meta, command);

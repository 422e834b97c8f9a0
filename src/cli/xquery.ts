#!/usr/lib/xos/bin/node
import type { FoundNode } from '../api/operations/overlay.ts';
import { ask } from './lib/api.ts';
import { commonExitStatus, defineCommand, jsonOption, type Call } from './lib/command.ts';
import { runIfMain } from './lib/main.ts';
import { formatTable, tableWidth } from './lib/table.ts';
import { formatBytes } from './lib/units.ts';

export const command = defineCommand({
  name: 'xquery',
  summary: 'find nodes by what they are',
  description: [
    'Asks the overlay for nodes of the VO that fit QUERY, from whichever node; no server knows them all. QUERY is conditions separated by commas, all of which must hold: `cores >= 8`, `memory in 16GiB..64GiB`, `arch = x86_64`, `os in {Debian GNU/Linux, Ubuntu}`, `model != \'AMD EPYC\'`, `roles has osd`, `near n3 within 20ms`. Texts with blanks or commas stand in quotes.',
    'A node has the attributes `cores`, `memory`, `disk` (bytes), `arch`, `model`, `ghz`, `os`, `os_version`, `kernel`, `gpus` (how many), `gpu`, `libraries`, `devices`, `sensors` and `roles` (sets), `node`, and those that its site gives it in `/etc/xos/node.json` or with `xnode describe`. A node without an attribute fits no condition on it.',
    '`load`, `running`, `free_cpus`, `memory_free`, `disk_free` (bytes) and `metric.NAME`, whatever was measured with `xnode describe`, change from second to second: they are asked of the nodes that fit the rest.',
    'With --follow QUERY stays open: a directory of the nodes that fit what is fixed is kept for you, and a new list is printed whenever another one fits, until you end it. At most 48 nodes.',
  ],
  options: {
    count: { kind: 'number', short: 'n', value: 'N', min: 1, integer: true, summary: 'so many nodes are enough (default: all that fit)' },
    follow: { kind: 'flag', short: 'f', summary: 'go on: print a line of names whenever others fit' },
    quiet: { kind: 'flag', short: 'q', summary: 'print names of nodes only' },
    json: jsonOption,
  },
  arguments: [{ name: 'QUERY', summary: 'conditions on attributes, separated by commas', optional: true }],
  examples: [
    { text: 'fifty nodes for a job', line: `xquery 'cores >= 8, memory in 16GiB..64GiB, arch = x86_64' --count 50` },
    { text: 'where is room now', line: `xquery -q 'free_cpus >= 2'` },
    { text: 'and from now on', line: `xquery -f 'arch = x86_64, free_cpus >= 2'` },
  ],
  exitStatus: [{ status: '0', meaning: 'nodes were found' }, { status: '1', meaning: 'no node fits, or it could not be asked; the reason is on stderr' }, commonExitStatus[2]!],
  seeAlso: [['xnode', 1], ['xrun', 1], ['xsubscribe', 1], ['xos', 7]],
  run: async (call) => {
    const { count, quiet, json, follow: on } = call.options;
    if (on) return await follow(call as unknown as Call, call.args[0] ?? '', count ?? 0);
    const { nodes, complete } = await ask(call, 'node-query', { query: call.args[0] ?? '', count: count ?? 0 });
    if (!complete && (count === undefined || nodes.length < count)) call.note('some nodes did not answer; there may be more');
    if (json) call.json(nodes);
    else if (quiet) for (const { node } of nodes) call.out.write(`${node}\n`);
    else if (nodes.length > 0) call.out.write(table(nodes, tableWidth(call.out)));
    else call.note('no node fits');
    return nodes.length > 0 ? 0 : 1;
  },
});

/** A line for each list, until ^C. */
async function follow(call: Call, query: string, count: number): Promise<number> {
  await ask(call, 'node-follow', { query, count }, {
    timeout_ms: null,
    onProgress: ({ nodes }) => void call.out.write(call.options['json'] === true ? `${JSON.stringify(nodes)}\n` : `${nodes.map(({ node }) => node).join(' ')}\n`),
  });
  return 0;
}

const number = ({ attributes }: FoundNode, name: string): number => (typeof attributes[name] === 'number' ? attributes[name] : 0);
const text = ({ attributes }: FoundNode, name: string): string => (attributes[name] === undefined ? '-' : String(attributes[name]));

const table = (nodes: readonly FoundNode[], width: number | undefined): string => formatTable([
  { title: 'NODE', value: ({ node }) => node },
  { title: 'ADDRESS', value: ({ address }) => address },
  { title: 'CORES', value: (each) => text(each, 'cores'), align: 'right' },
  { title: 'MEMORY', value: (each) => (number(each, 'memory') === 0 ? '-' : formatBytes(number(each, 'memory'))), align: 'right' },
  { title: 'ARCH', value: (each) => text(each, 'arch') },
  { title: 'OS', value: (each) => `${text(each, 'os')} ${text(each, 'os_version')}`, flexible: true },
  { title: 'SITE', value: ({ sites }) => (sites.length === 0 ? '-' : sites.join(' ')) },
  { title: 'ROLES', value: (each) => text(each, 'roles').replaceAll(',', ' '), flexible: true },
], nodes, width);

await runIfMain(import.meta, command);

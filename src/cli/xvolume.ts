#!/usr/lib/xos/bin/node
import type { VolumeRow } from '../api/operations/volume.ts';
import { ask } from './lib/api.ts';
import { commonExitStatus, defineCommand, jsonOption, type Call, type Command } from './lib/command.ts';
import { runIfMain } from './lib/main.ts';
import { UsageError } from './lib/parse.ts';
import { formatTable, tableWidth } from './lib/table.ts';
import { formatBytes, parseBytes } from './lib/units.ts';

const volumeArgument = { name: 'VOLUME', summary: 'name of the volume; it is at /grid/VO/VOLUME', complete: 'volume' } as const;

const listOptions = { quiet: { kind: 'flag', short: 'q', summary: 'print the names only' }, json: jsonOption } as const;
const list: Command<typeof listOptions> = {
  name: 'list', summary: 'show the volumes of the VO', description: [], options: listOptions,
  run: async (call) => {
    const { volumes } = await ask(call as Call, 'volume-list', {});
    if (call.options.json) return call.json(volumes);
    if (call.options.quiet) return void volumes.forEach(({ volume }) => call.out.write(`${volume}\n`));
    call.out.write(formatTable(columns, volumes, tableWidth(call.out)));
  },
};

const showOptions = { json: jsonOption } as const;
const show: Command<typeof showOptions> = {
  name: 'show', summary: 'show a volume and the servers behind it', description: [], options: showOptions, arguments: [volumeArgument],
  run: async (call) => {
    const found = await ask(call as Call, 'volume-show', { volume: call.args[0] ?? '' });
    if (call.options.json) return call.json(found);
    const { volume, servers } = found;
    call.out.write(formatTable(columns, [volume], tableWidth(call.out)));
    call.out.write(`\nmetadata: ${servers.mrc === null ? 'no server' : `${servers.mrc.node} (${servers.mrc.up ? 'up' : 'down'})`}\n\n`);
    call.out.write(formatTable([
      { title: 'OSD', value: (each) => each.osd }, { title: 'NODE', value: (each) => each.node }, { title: 'STATE', value: (each) => (each.up ? 'up' : 'down') },
      { title: 'FREE', value: (each) => formatBytes(each.free_bytes), align: 'right' }, { title: 'SIZE', value: (each) => formatBytes(each.total_bytes), align: 'right' },
    ], servers.osds, tableWidth(call.out)));
  },
};

const createOptions = {
  owner: { kind: 'text', value: 'USER', summary: 'member who owns the root directory; you, when absent' },
  mode: { kind: 'text', value: 'BITS', summary: 'permission bits of the root directory, octal (default 700)' },
  'stripe-size': { kind: 'text', value: 'SIZE', summary: 'bytes in a stripe, a multiple of 4K up to 4M (default 4M)' },
  width: { kind: 'number', value: 'N', integer: true, min: 1, max: 64, summary: 'object servers that a file is spread over (default 1)' },
  placement: { kind: 'text', value: 'POLICY', choices: ['with-mrc', 'local', 'spread'], summary: "where a new file's data goes" },
  json: jsonOption,
} as const;
const create: Command<typeof createOptions> = {
  name: 'create', summary: 'make a volume',
  description: ['Takes the role `admin` in the VO, or root on a node. The volume appears at /grid/VO/VOLUME on every node.'],
  options: createOptions, arguments: [{ ...volumeArgument, complete: 'none' }],
  run: async (call) => {
    const { owner, mode, width, placement, json } = call.options;
    const size = call.options['stripe-size'];
    const stripe_size = size === undefined ? undefined : parseBytes(size);
    if (size !== undefined && stripe_size === undefined) throw new UsageError(`option '--stripe-size' is '${size}': it must be a size such as 1M`);
    if (mode !== undefined && !/^[0-7]{3,4}$/.test(mode)) throw new UsageError(`option '--mode' is '${mode}': it must be three or four octal digits`);
    const { volume } = await ask(call as Call, 'volume-create', {
      volume: call.args[0] ?? '', ...(owner === undefined ? {} : { owner }), ...(mode === undefined ? {} : { mode: Number.parseInt(mode, 8) }),
      policy: {
        ...(stripe_size === undefined ? {} : { stripe_size }), ...(width === undefined ? {} : { width }),
        ...(placement === undefined ? {} : { placement: placement as VolumeRow['policy']['placement'] }),
      },
    });
    if (json) call.json(volume);
  },
};

const removeOptions = { force: { kind: 'flag', short: 'f', summary: 'do not ask: all files of the volume are gone for good' } } as const;
const remove: Command<typeof removeOptions> = {
  name: 'remove', summary: 'remove a volume with all that is in it',
  description: ['Takes the role `admin` in the VO, or root on a node. Nothing brings the files back.'],
  options: removeOptions, arguments: [volumeArgument],
  run: async (call) => {
    const volume = call.args[0] ?? '';
    if (!call.options.force) throw new UsageError(`this removes volume '${volume}' with all its files; say --force if that is meant`);
    await ask(call as Call, 'volume-remove', { volume });
  },
};

const columns = [
  { title: 'VOLUME', value: (each: VolumeRow) => each.volume }, { title: 'OWNER', value: (each: VolumeRow) => each.owner },
  { title: 'MODE', value: (each: VolumeRow) => each.mode.toString(8).padStart(4, '0') },
  { title: 'STRIPE', value: (each: VolumeRow) => `${formatBytes(each.policy.stripe_size)} x ${each.policy.width}`, align: 'right' as const },
  { title: 'PLACEMENT', value: (each: VolumeRow) => each.policy.placement },
  { title: 'FILES', value: (each: VolumeRow) => (each.files === null ? '-' : `${each.files}`), align: 'right' as const },
  { title: 'USED', value: (each: VolumeRow) => (each.used_bytes === null ? '-' : formatBytes(each.used_bytes)), align: 'right' as const },
];

export const command = defineCommand({
  name: 'xvolume',
  summary: 'make, show and remove volumes of XtreemFS',
  description: [
    'A volume is a file system of the VO, mounted at /grid/VO/VOLUME on each node; the home of user alice is the volume home.alice.',
    'Its names and attributes are kept by a metadata server (MRC), its data in stripes by object servers (OSD).',
  ],
  options: {},
  subcommands: [list as Command, show as Command, create as Command, remove as Command],
  examples: [{ text: 'a volume for a project, open to its members', line: 'xvolume create data --mode 1777' }],
  exitStatus: commonExitStatus,
  seeAlso: [['xnode', 1], ['xos-mount', 8], ['xos-mrc', 8], ['xos-osd', 8], ['xos', 7]],
});

await runIfMain(import.meta, command);

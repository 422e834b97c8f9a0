import type { SnapshotsRow, VolumeObject } from '../api/operations/volume.ts';
import { ask } from './lib/api.ts';
import { jsonOption, type Call, type Command } from './lib/command.ts';
import { formatTable, tableWidth } from './lib/table.ts';
import { objectAt } from './objects.ts';

const volumeOrPath = { name: 'VOLUME', summary: 'name of the volume, or a path in it', complete: 'file' } as const;
const nameArgument = { name: 'NAME', summary: 'name of the snapshot', complete: 'none' } as const;
const snapshotOptions = { json: jsonOption } as const;
/** A million files are copied in some seconds; an open one may have to wait for its writer. */
const timeout_ms = 600_000;

/** A path has a slash, as `./data`; what has none is a volume's name. */
const volumeAt = async (argument: string): Promise<VolumeObject> => (argument.includes('/') || argument === '.' ? await objectAt(argument) : { volume: argument });

const snapshotCreate: Command<typeof snapshotOptions> = {
  name: 'snapshot create', summary: 'keep a volume as it is now, to be read as `.snapshot/NAME`',
  description: [
    'The whole volume at one moment, while it is used: everything that a program had written when the command began is in it, of open files as well. Who opens or writes to files meanwhile waits. It is found in the root of the volume as `.snapshot/NAME`; listings of the root do not show `.snapshot`. Nothing in it can be changed (`EROFS`); modes and access lists hold as they did.',
    'A snapshot takes no room for contents at first. A file is copied when it is opened for writing for the first time after it, or written to, when it was open already: that waits until the copy is on the disk, and a large file takes its time. Removed files stay for the snapshots that have them. In a volume with limits a snapshot counts as a copy of all files would, from the beginning.',
    'Refused while a program writes to a file past its server (passthrough: files of 128 KiB and more that lie on the program\'s own node): it has to close it. From the first try on, and until the last snapshot is removed, files of the volume are not opened for writing that way.',
    'For the owner of the volume, and for administrators of the VO.',
    'The names of before are understood as well: `--create-snapshot NAME`, `--delete-snapshot NAME` and `--list-snapshots`, before a path in the volume.',
  ],
  options: snapshotOptions, arguments: [volumeOrPath, nameArgument],
  run: async (call) => {
    const [volume = '', name = ''] = call.args;
    const made = await ask(call as Call, 'volume-snapshots', { ...await volumeAt(volume), action: 'create', name }, { timeout_ms });
    if (call.options.json) call.json({ volume: made.volume, name, files: made.files, writing: made.writing });
    else call.out.write(`${name}: ${made.files} files and directories of volume '${made.volume}'${made.writing === 0 ? '' : `, ${made.writing} of them open for writing`}\n`);
  },
};

/** What `snapshot ls` shows. */
export const snapshotRows = ({ snapshots }: Pick<SnapshotsRow, 'snapshots'>): { readonly name: string; readonly made: string }[] =>
  snapshots.map(({ name, created_ms }) => ({ name, made: new Date(created_ms).toISOString().replace(/\.\d+Z$/, 'Z') }));

const snapshotList: Command<typeof snapshotOptions> = {
  name: 'snapshot ls', summary: 'list the snapshots of a volume', description: [], options: snapshotOptions, arguments: [volumeOrPath],
  run: async (call) => {
    const found = await ask(call as Call, 'volume-snapshots', { ...await volumeAt(call.args[0] ?? ''), action: 'list' });
    if (call.options.json) return call.json({ volume: found.volume, snapshots: found.snapshots });
    call.out.write(formatTable([{ title: 'NAME', value: (each) => each.name }, { title: 'MADE', value: (each) => each.made }], snapshotRows(found), tableWidth(call.out)));
  },
};

const snapshotRemove: Command<typeof snapshotOptions> = {
  name: 'snapshot rm', summary: 'remove a snapshot, and give back the room that only it needs',
  description: [
    'Programs that read a file of it can go on until they close it. The contents go in the background, once the removal is on the disk of the metadata server.',
    'For the owner of the volume, and for administrators of the VO.',
  ],
  options: snapshotOptions, arguments: [volumeOrPath, nameArgument],
  run: async (call) => {
    const [volume = '', name = ''] = call.args;
    const left = await ask(call as Call, 'volume-snapshots', { ...await volumeAt(volume), action: 'remove', name }, { timeout_ms });
    if (call.options.json) call.json({ volume: left.volume, snapshots: left.snapshots });
  },
};

export const snapshotCommands: readonly Command[] = [snapshotCreate as Command, snapshotList as Command, snapshotRemove as Command];

#!/usr/lib/xos/bin/node
import type { OsdCareRow } from '../api/operations/volume.ts';
import { ask } from './lib/api.ts';
import { commonExitStatus, defineCommand, jsonOption, type Call, type Command } from './lib/command.ts';
import { runIfMain } from './lib/main.ts';
import { UsageError } from './lib/parse.ts';
import { startProgress } from './lib/progress.ts';
import { formatTable, tableWidth } from './lib/table.ts';
import { formatBytes } from './lib/units.ts';
import { objectAt, pathArgument } from './objects.ts';
import { replicate, replicasText, withOldNames } from './replicas.ts';
import { snapshotCommands } from './snapshots.ts';
import { askedPolicy, bytesOption, policyOptions, volumeArgument } from './lib/volume.ts';

const showOptions = { json: jsonOption } as const;
const show: Command<typeof showOptions> = {
  name: 'show', summary: 'show the policy of a file, directory or volume, and where the stripes of a file are', description: [], options: showOptions, arguments: [pathArgument],
  run: async (call) => {
    const object = await objectAt(call.args[0] ?? '');
    const found = await ask(call as Call, 'volume-inspect', object);
    const replicas = found.stripes === null ? null : await ask(call as Call, 'volume-replicas', { ...object, action: 'status' });
    if (call.options.json) return call.json({ ...found, replicas: replicas?.copies ?? [] });
    const { policy, stripes } = found;
    const rows: [string, string][] = [
      ['volume', found.volume], ['type', found.type], ['owner', found.owner],
      ['new files', `stripes of ${formatBytes(policy.stripe_size)} over ${policy.width}, ${policy.placement}${found.own_policy ? '' : " (the volume's policy)"}`],
      ['replication', policy.replication === 'none' ? 'none' : `${policy.replicas} copies, a write takes ${policy.replication === 'all' ? 'all' : 'more than half'} of them`],
      ['access times', policy.atime], ['access list', found.has_acl ? 'yes (getfacl shows it)' : 'no'],
      ...(stripes === null ? [] : [['stripes', `of ${formatBytes(stripes.stripe_size)} over ${stripes.width}: ${stripes.osds.map(({ osd, up }) => `${osd}${up ? '' : ' (down)'}`).join(', ')}`] as [string, string]]),
      ...(replicas === null || replicas.copies.length < 2 ? [] : [['replicas', replicasText(replicas)] as [string, string]]),
    ];
    for (const [name, value] of rows) call.out.write(`${`${name}:`.padEnd(14)}${value}\n`);
  },
};

const setOptions = {
  ...policyOptions,
  inherit: { kind: 'flag', summary: "drop a policy of its own: the volume's counts again" },
} as const;
const set: Command<typeof setOptions> = {
  name: 'set', summary: 'change the policy for files that are made from now on',
  description: [
    'Of a volume, of what is made below a directory (directories that are made in it take its policy with them), or of one file as long as it was never written to. Files that have contents stay as they are.',
    'With `--replication quorum` or `all` new files have `--replicas` copies, each at another object server, all of them written to. What write(2), fsync(2) or close(2) has answered for is at all copies that are in step. When a server dies its files go on after a pause of some seconds without it, as long as more than half of the copies are there (`all`: they can be read, and writers wait until there are as many as wanted); who comes back is caught up, who stays away for a minute is replaced at another server. `xtfsutil show` tells which copies are in step. Such files are not striped, and a volume that has them has no snapshots.',
    'For the owner, and for administrators of the VO.',
  ],
  options: setOptions, arguments: [pathArgument],
  run: async (call) => {
    const policy = askedPolicy(call.options);
    const nothing = Object.keys(policy).length === 0;
    if (call.options.inherit === !nothing) throw new UsageError(nothing ? 'what to set is missing' : '--inherit takes the whole policy away: it goes with no other option');
    await ask(call as Call, 'volume-policy', { ...await objectAt(call.args[0] ?? ''), policy: call.options.inherit ? null : policy });
  },
};

const quotaOptions = {
  user: { kind: 'text', value: 'USER', summary: "limits of this member; `*` stands for all who have none of their own; the volume's, when absent" },
  bytes: { kind: 'text', value: 'SIZE', summary: 'bytes of all files together; 0 lifts the limit' },
  files: { kind: 'number', value: 'N', integer: true, min: 0, summary: 'files, directories and links; 0 lifts the limit' },
  json: jsonOption,
} as const;
const quota: Command<typeof quotaOptions> = {
  name: 'quota', summary: 'show what is used of a volume and the limits, or set a limit',
  description: [
    'Without `--bytes` and `--files` it shows: to an administrator all users, to others the volume and themselves. Setting limits takes the role `admin` in the VO.',
    'What counts is the size of a file, not what it takes on disks. A limit holds at every moment, also for several writers on several nodes: room is reserved before it is written to, a file up to 64 MiB or a 64th of the room ahead, and given back when the file is closed. Only an append may go over the limit, by what one write(2) of each appending process holds.',
    'Who is over a limit gets EDQUOT. Root is held to limits of volumes, not to those of users. The first limit of a volume counts all its files, which takes a second or so for a million.',
  ],
  options: quotaOptions, arguments: [volumeArgument],
  run: async (call) => {
    const volume = call.args[0] ?? '';
    const { user, files, json } = call.options;
    const bytes = bytesOption('bytes', call.options.bytes);
    if (bytes !== undefined || files !== undefined) {
      await ask(call as Call, 'volume-quota', { volume, ...(user === undefined ? {} : { user }), ...(bytes === undefined ? {} : { bytes_max: bytes }), ...(files === undefined ? {} : { files_max: files }) });
      return;
    }
    const found = await ask(call as Call, 'volume-usage', { volume }, { timeout_ms: 60_000 });
    if (json) return call.json(found);
    const limit = (value: number, format: (value: number) => string): string => (value === 0 ? '-' : format(value));
    const rows = [{ who: 'volume', ...found.all }, ...found.users.map((each) => ({ ...each, who: each.user })), { who: 'each user', ...found.every_user, bytes: null, files: null }];
    call.out.write(formatTable([
      { title: 'WHO', value: (each) => each.who },
      { title: 'USED', value: (each) => (each.bytes === null ? '-' : formatBytes(each.bytes)), align: 'right' }, { title: 'LIMIT', value: (each) => limit(each.bytes_max, formatBytes), align: 'right' },
      { title: 'FILES', value: (each) => `${each.files ?? '-'}`, align: 'right' }, { title: 'LIMIT', value: (each) => limit(each.files_max, String), align: 'right' },
    ], rows, tableWidth(call.out)));
  },
};

const statusOptions = { json: jsonOption } as const;
const status: Command<typeof statusOptions> = {
  name: 'status', summary: 'show the servers of the file system, and the volumes with what they use', description: [], options: statusOptions,
  run: async (call) => {
    const { volumes } = await ask(call as Call, 'volume-list', {});
    const first = volumes[0];
    const servers = first === undefined ? null : (await ask(call as Call, 'volume-show', { volume: first.volume })).servers;
    const used = await Promise.all(volumes.map(async ({ volume }) => ({ volume, ...(await ask(call as Call, 'volume-usage', { volume }, { timeout_ms: 60_000 })).all })));
    if (call.options.json) return call.json({ servers, volumes: volumes.map((each, at) => ({ ...each, usage: used[at] })) });
    call.out.write(formatTable([
      { title: 'VOLUME', value: (each) => each.volume }, { title: 'USED', value: (each) => formatBytes(each.bytes), align: 'right' },
      { title: 'LIMIT', value: (each) => (each.bytes_max === 0 ? '-' : formatBytes(each.bytes_max)), align: 'right' },
      { title: 'FILES', value: (each) => `${each.files}`, align: 'right' }, { title: 'LIMIT', value: (each) => (each.files_max === 0 ? '-' : `${each.files_max}`), align: 'right' },
    ], used, tableWidth(call.out)));
    if (servers === null) return;
    call.out.write(`\nmetadata: ${servers.mrc === null ? 'no server' : `${servers.mrc.node} (${servers.mrc.up ? 'up' : 'down'})`}\n\n`);
    call.out.write(formatTable([
      { title: 'OSD', value: (each) => each.osd }, { title: 'STATE', value: (each) => (each.up ? 'up' : 'down') },
      { title: 'FREE', value: (each) => formatBytes(each.free_bytes), align: 'right' }, { title: 'SIZE', value: (each) => formatBytes(each.total_bytes), align: 'right' },
    ], servers.osds, tableWidth(call.out)));
  },
};

const checkOptions = { repair: { kind: 'flag', summary: 'mend what is wrong; who changes files waits meanwhile' }, json: jsonOption } as const;
const check: Command<typeof checkOptions> = {
  name: 'check', summary: 'look whether the metadata agrees with itself, and mend it',
  description: [
    'Looks at all volumes at once, while they are used: names that lead nowhere, wrong numbers of links, directories in the wrong place, counts of quotas, and files without a name. Takes the role `admin` in the VO.',
    'With `--repair` wrong names go, numbers are set right, and what has no name gets one in the directory `lost+found` of its volume, for root.',
  ],
  options: checkOptions,
  run: async (call) => {
    const { repair, json } = call.options;
    const report = await ask(call as Call, 'volume-check', { repair }, { timeout_ms: 600_000 });
    if (json) call.json(report);
    else {
      for (const line of report.found) call.out.write(`${line}\n`);
      call.out.write(`${report.inodes} files, ${report.entries} names: ${report.problems === 0 ? 'nothing is wrong' : `${report.problems} ${repair ? 'mended' : "wrong; 'xtfsutil check --repair' mends them"}`}\n`);
    }
    return report.problems === 0 || repair ? 0 : 1;
  },
};

const dump: Command<{ readonly json: typeof jsonOption }> = {
  name: 'dump', summary: "write a volume's metadata to a file",
  description: [
    'Names, owners, modes, access lists, attributes, policies and limits of all files, and at which servers their contents are; not the contents. It is a picture of one moment, taken while the volume is in use, with checksums. Takes the role `admin` in the VO.',
    'It is for the loss of the metadata server: `xtfsutil restore` makes the volume again from it, and the contents are found where they are. Take one regularly, and keep it on another machine. Files that were made after it are not in it.',
  ],
  options: { json: jsonOption }, arguments: [volumeArgument, { name: 'FILE', summary: 'the dump; written when it is whole', complete: 'file' }],
  run: async (call) => {
    const { dumpVolume } = await import('./dumps.ts');
    const progress = startProgress(call.err);
    const [volume = '', file = ''] = call.args;
    try {
      const bytes = await dumpVolume(call as Call, volume, file, progress);
      progress.stop();
      if (call.options.json) call.json({ volume, file, bytes });
      else call.out.write(`${file}: ${formatBytes(bytes)}\n`);
    } finally {
      progress.stop();
    }
  },
};

const restoreOptions = { incomplete: { kind: 'flag', summary: 'restore files whose contents are gone as empty ones' }, json: jsonOption } as const;
const restore: Command<typeof restoreOptions> = {
  name: 'restore', summary: 'make a volume of a dump, after its metadata was lost',
  description: [
    'Makes the whole volume in one step, or nothing: a dump that was cut, changed or is none is refused. The sizes of files are asked for at the object servers, which know what was written after the dump. Others wait while the volume is made, some seconds for a million files. Takes the role `admin` in the VO.',
    'Files keep their numbers, by which the object servers know their contents: so a dump brings lost files back and makes no copies, and it is refused while the files are there.',
  ],
  options: restoreOptions, arguments: [{ name: 'FILE', summary: 'the dump', complete: 'file' }, { ...volumeArgument, name: 'VOLUME', summary: 'name of the volume to make', complete: 'none' }],
  run: async (call) => {
    const { restoreVolume } = await import('./dumps.ts');
    const progress = startProgress(call.err);
    const [file = '', volume = ''] = call.args;
    try {
      const { inodes, names, bytes, empty } = await restoreVolume(call as Call, file, volume, call.options.incomplete, progress);
      progress.stop();
      if (call.options.json) call.json({ volume, inodes, names, bytes, empty });
      else call.out.write(`${volume}: ${inodes} files, ${names} names, ${formatBytes(bytes)}${empty === 0 ? '' : `; ${empty} files are empty, since their contents are gone`}\n`);
    } finally {
      progress.stop();
    }
  },
};

const orphansOptions = {
  remove: { kind: 'flag', summary: 'remove what belongs to no file' },
  grace: { kind: 'number', value: 'SECONDS', unit: 'seconds', integer: true, min: 0, summary: 'leave alone what was changed in this time (default 3600)' },
  json: jsonOption,
} as const;
const orphans: Command<typeof orphansOptions> = {
  name: 'orphans', summary: 'look for objects at the servers that belong to no file, and remove them',
  description: [
    'Every OSD lists what it keeps, and the metadata server is asked about each object. Files that are open without a name, and those that are just being made, keep theirs. Takes the role `admin` in the VO.',
    'The metadata server does the same by itself once a day, gently. Objects with numbers that it never gave out are counted and never removed: they may be those of a database that was lost.',
    'Ends with status 1 when there are orphans and they were not removed, or when not all could be looked at.',
  ],
  options: orphansOptions,
  run: async (call) => {
    const { remove, grace, json } = call.options;
    const progress = startProgress(call.err);
    try {
      const found = await ask(call as Call, 'volume-orphans', { remove, ...(grace === undefined ? {} : { grace_ms: grace * 1000 }) }, {
        timeout_ms: null,
        onProgress: (now) => progress.update(`OSD ${Math.min(now.osds, now.osds_done + now.osds_away + 1)} of ${now.osds}: ${now.objects} objects, ${now.orphans} of no file${remove ? `, ${now.removed} removed` : ''}`),
      });
      progress.stop();
      if (json) call.json(found);
      else {
        call.out.write(`${found.objects} objects at ${found.osds_done} servers: ${found.orphans === 0 ? 'all belong to files' : `${found.orphans} belong to no file (${formatBytes(found.orphan_bytes)})`}${found.removed > 0 ? `, ${found.removed} removed` : ''}\n`);
        if (found.young > 0) call.note(`${found.young} more belong to no file but were changed too lately; see --grace`);
        if (found.unknown > 0) call.note(`${found.unknown} have numbers that were never given out and are left alone: perhaps those of a lost database, which 'xtfsutil restore' brings back`);
        if (found.osds_away > 0) call.note(`${found.osds_away} servers did not answer`);
        if (found.failed > 0) call.note(`${found.failed} could not be removed; the log of xos-mrc says why`);
        if (found.orphans > 0 && !remove) call.note("'xtfsutil orphans --remove' removes them");
      }
      return !found.whole || found.failed > 0 || (found.orphans > 0 && !remove) ? 1 : 0;
    } finally {
      progress.stop();
    }
  },
};

const osdArgument = { name: 'OSD', summary: 'an object server, by the name of its node', complete: 'node' } as const;
const osdLine = ({ osd, state, drained, left, busy, failed, reason }: OsdCareRow): string =>
  `${osd}: ${drained ? `${state}, nothing is there` : `${state}, ${left} files are there`}${busy > 0 ? `, ${busy} wait for programs that use them` : ''}${failed > 0 ? `, ${failed} failed (${reason})` : ''}`;

const osdDrainOptions = { background: { kind: 'flag', short: 'b', summary: 'do not wait for the end' }, json: jsonOption } as const;
const osdDrain: Command<typeof osdDrainOptions> = {
  name: 'osd drain', summary: 'move what an object server has to the others',
  description: [
    'It gets no new files from now on, and its files move while they are read and written: whoever uses one waits for a moment. The metadata server does it, also after a restart; `^C` ends the waiting only. `xtfsutil osd use` gives it up: what has moved stays where it is.',
    'A file stays as long as a program of that node has it open for the kernel to read and write by itself (passthrough), or a striped one is open for writing; it is tried again every few seconds.',
    'Takes the role `admin` in the VO.',
  ],
  options: osdDrainOptions, arguments: [osdArgument],
  run: async (call) => {
    const osd = call.args[0] ?? '';
    const { setTimeout: sleep } = await import('node:timers/promises');
    const progress = startProgress(call.err);
    try {
      let now = await ask(call as Call, 'volume-osd', { osd, action: 'drain' }, { timeout_ms: 60_000 });
      while (!call.options.background && !now.drained) {
        progress.update(`${osdLine(now)}, ${formatBytes(now.moved_bytes)} moved`);
        await sleep(500, undefined, { signal: call.signal });
        now = await ask(call as Call, 'volume-osd', { osd, action: 'status' }, { timeout_ms: 60_000 });
        if (now.state !== 'draining') break;
      }
      progress.stop();
      if (call.options.json) call.json(now);
      else call.out.write(`${osdLine(now)}\n`);
      return now.drained || call.options.background ? 0 : 1;
    } finally {
      progress.stop();
    }
  },
};

const osdOptions = { json: jsonOption } as const;
const osdAction = (action: 'use' | 'remove' | 'status', name: string, summary: string, description: readonly string[]): Command<typeof osdOptions> => ({
  name, summary, description, options: osdOptions, arguments: [osdArgument],
  run: async (call) => {
    const now = await ask(call as Call, 'volume-osd', { osd: call.args[0] ?? '', action }, { timeout_ms: 60_000 });
    if (call.options.json) call.json(now);
    else call.out.write(`${osdLine(now)}\n`);
  },
});
const osdUse = osdAction('use', 'osd use', 'use an object server (again): gives up draining it', ['Takes the role `admin` in the VO.']);
const osdRemove = osdAction('remove', 'osd remove', 'take a drained object server away for good',
  ['Refused while anything is there. Its node may then lose the role `osd`, or leave. `xtfsutil osd use` takes it back. Takes the role `admin` in the VO.']);
const osdShow = osdAction('status', 'osd show', 'show how an object server is used, and how far a drain is', ['Takes the role `admin` in the VO.']);

export const command = defineCommand({
  name: 'xtfsutil',
  summary: 'show and set the policies of XtreemFS (stripes, quotas, access times), and look after it',
  description: [
    "A policy says how new files are laid out over the object servers (OSDs). A volume has one; a directory or an empty file may have its own. Who may do what with a file is said by its mode and its access list (`chmod`, `setfacl`).",
  ],
  options: {},
  normalize: withOldNames,
  subcommands: [show as Command, set as Command, replicate as Command, ...snapshotCommands, quota as Command, status as Command, check as Command, orphans as Command, dump as Command, restore as Command,
    osdShow as Command, osdDrain as Command, osdUse as Command, osdRemove as Command],
  examples: [
    { text: 'a file that is read on many nodes, in three copies', line: 'xtfsutil replicate /grid/demo/data/genome --count 3' },
    { text: 'large files over four servers from now on', line: 'xtfsutil set /grid/demo/data/movies --stripe-size 1M --width 4 --placement spread' },
    { text: 'where a file is', line: 'xtfsutil show /grid/demo/data/movies/a.mkv' },
    { text: 'a hundred gigabytes for the volume, ten for each user', line: "xtfsutil quota data --bytes 100G && xtfsutil quota data --user '*' --bytes 10G" },
    { text: 'the home as it is now, and a file of it later', line: 'xtfsutil snapshot create ~/ monday && cp ~/.snapshot/monday/paper.tex .' },
    { text: 'for the loss of the metadata server', line: 'xtfsutil dump data /backup/data.xtfsdump' },
  ],
  exitStatus: commonExitStatus,
  seeAlso: [['xtfstop', 1], ['mkfs.xtreemfs', 8], ['lsfs.xtreemfs', 1], ['mount.xtreemfs', 8], ['xvolume', 1], ['xos-mrc', 8], ['xos', 7]],
});

await runIfMain(import.meta, command);

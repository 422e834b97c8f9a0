import { commonExitStatus, type Command, type OptionSpecs } from './command.ts';

/**
 * Commands whose program is not in this folder (C++ and services): declared here for their manual pages and completion. A test compares the
 * options with what the programs print for --help.
 */
const jobStatus = [
  { status: '0-124', meaning: 'that of the command' }, { status: '125', meaning: 'xrun itself failed; the reason is on stderr' },
  { status: '126', meaning: 'the command was found but cannot be run' }, { status: '127', meaning: 'the command was not found' },
  { status: '128+N', meaning: 'the command was killed by signal N' }, { status: '137', meaning: 'also: the node where it ran was lost' },
] as const;

const jobEnvironment = [
  { name: 'XOS_LOCAL', summary: 'If set, and neither empty nor 0, programs stay on this node.' },
  { name: 'XOS_NODE', summary: 'The node where programs that leave this one go.' },
  { name: 'XOS_PROTECT', summary: 'As `xrun` --protect, for programs that leave by their name: auto, no, or a time such as 5m.' },
] as const;

const xrun: Command = {
  name: 'xrun',
  summary: 'run a command on a node of the grid',
  description: [
    'Runs COMMAND on a node of the VO that has room, as if it ran here: with this environment, working directory, umask and streams, under a proxy process that has its name, gets its signals and ends as it ends.',
    'Most programs need no xrun: in a session, a program that is worth it leaves by itself when its name is typed (`xwhere` -- COMMAND tells). xrun overrules the policy, and chooses the node.',
    'With --protect (or XOS_PROTECT, or the policy `protect` of the VO) checkpoints of the job are taken while it runs, in its owner\'s `~/.xos/checkpoints`, and removed when it ends. When its node dies or is cut off, the job goes on on another node from the last one, under the same proxy with its terminal and pipes, some 25 s after the node was heard of last: so long it takes until a copy there has surely ended. Input from a pipe or file is given to it again from there on, what was typed is not; output, files and messages of the time since the checkpoint may come a second time. Without INTERVAL it is found from what a checkpoint takes and the VO\'s policy `node.mtbf`. A job that cannot be stored goes on unprotected, with a word why.',
    'What can never leave (a working directory or an inherited descriptor that exists on this node only) runs here with a word on stderr, or not at all when a node was named.',
  ],
  synopsis: ['[--node NODE | --where QUERY] [--protect[=INTERVAL]] [--local] COMMAND [ARGUMENT...]'],
  options: {
    node: { kind: 'text', value: 'NODE', summary: 'run on this node, or not at all', complete: 'node' },
    where: { kind: 'text', value: 'QUERY', summary: 'run on the best node that fits QUERY (xquery), or not at all' },
    protect: { kind: 'flag', summary: 'let it go on elsewhere from a checkpoint when its node is lost; --protect=90s, 5m, 2h: so often, --protect=no: not though the VO says so' },
    local: { kind: 'flag', summary: 'run on this node, as xlocal does' },
  },
  arguments: [{ name: 'COMMAND', summary: 'the command; its own options follow it', complete: 'command' }],
  environment: jobEnvironment,
  examples: [{ text: 'a long computation that outlives its node', line: 'xrun --protect ./simulate' }, { text: 'compress on node n2', line: 'xrun --node n2 gzip -9 big' }, { text: 'where there is memory and a free CPU', line: `xrun --where 'memory >= 16GiB, free_cpus >= 1' ./simulate` }],
  exitStatus: jobStatus,
  seeAlso: [['xlocal', 1], ['xps', 1], ['xwhere', 1], ['xquery', 1], ['xos-policy', 5], ['xos', 7]],
};

const xlocal: Command = {
  name: 'xlocal',
  summary: 'run a command on this node',
  description: ['Runs COMMAND, and what it starts, on this node whatever the policy says. The same as XOS_LOCAL=1 COMMAND.'],
  synopsis: ['COMMAND [ARGUMENT...]'],
  options: {},
  arguments: [{ name: 'COMMAND', summary: 'the command; its own options follow it', complete: 'command' }],
  environment: jobEnvironment,
  examples: [{ text: 'measure this machine, not another one', line: 'xlocal openssl speed sha256' }],
  exitStatus: jobStatus.filter(({ status }) => status !== '137' && status !== '125'),
  seeAlso: [['xrun', 1], ['xwhere', 1], ['xos-policy', 5]],
};

const xenter: Command = {
  name: 'xenter', section: 8,
  summary: 'run one command in a session of a grid user, without a terminal',
  description: [
    'Logs USER@VO in through the PAM stack of a service, as a terminal login does, and runs COMMAND in the session. The password is read from a descriptor. For root: `xgrid exec` uses it inside a node.',
  ],
  synopsis: ['[--service NAME] [--password-fd N] USER@VO -- COMMAND [ARGUMENT...]'],
  options: {
    service: { kind: 'text', value: 'NAME', summary: 'service of PAM; its file is in /etc/pam.d' },
    'password-fd': { kind: 'number', value: 'N', summary: 'file descriptor from which the password is read' },
  },
  arguments: [{ name: 'USER@VO', summary: 'member of the VO' }],
  rest: { name: 'COMMAND', summary: 'the command to run', complete: 'command' },
  exitStatus: [{ status: '0-255', meaning: 'that of the command; 128+N when signal N killed it' }, { status: '1', meaning: 'also: the login was refused; the reason is on stderr' }, commonExitStatus[2]!],
  seeAlso: [['xgrid', 8], ['login', 1], ['pam', 8]],
};

const xosd: Command = {
  name: 'xosd', section: 8,
  summary: 'the daemon of a grid node that decides',
  description: [
    'Runs on every node: sessions and credentials, placement of jobs, the table of jobs, the directory of servers (DIR), and on one node the registry of the VO. File data, metadata and the streams of jobs never pass through it.',
    'It is started by the supervisor of the node. It reads its configuration, takes its certificate by founding a VO (`xvo create`) or by the token of an invitation, then starts the native services that its roles ask for: `xos-relayd`, `xos-osd`, `xos-mrc`, `xos-mount`.',
    'It may be restarted at any time: jobs, open files and sessions live on.',
  ],
  synopsis: [''],
  options: {},
  files: [
    { name: '/etc/xos/node.json', summary: 'Configuration: node, address, roles, join (the token of an invitation), metrics (the port of 127.0.0.1 where Prometheus finds /metrics; 0: none; 4 above the port of xosd when absent).' },
    { name: '/var/lib/xos', summary: 'State: node/ (key and certificates), registry/, dir/.' },
    { name: '/run/xos/xosd.sock', summary: 'Socket of the x-commands; the caller is who the kernel says.' },
    { name: '/run/xos/agent.sock', summary: 'Socket of the PAM module; root only.' },
  ],
  exitStatus: [{ status: '0', meaning: 'asked to end' }, { status: '1', meaning: 'it could not start; the reason is in its log' }],
  seeAlso: [['xnode', 1], ['xvo', 8], ['xos-relayd', 8], ['xos-osd', 8], ['xos-mrc', 8], ['xos-mount', 8], ['xos', 7]],
};

const common = {
  node: { kind: 'text', value: 'NODE', summary: 'id of this node in its VO' },
  vo: { kind: 'text', value: 'VO', summary: 'name of the VO' },
  credentials: { kind: 'text', value: 'DIR', summary: 'directory of key.pem, cert.pem and ca.pem', complete: 'directory' },
  run: { kind: 'text', value: 'DIR', summary: 'directory of the sockets (default /run/xos)', complete: 'directory' },
} as const satisfies OptionSpecs;
const listen = { kind: 'text', value: 'ADDRESS:PORT', summary: 'address and port for other nodes' } as const;
const state = { kind: 'text', value: 'DIR', summary: 'directory of what outlives the process', complete: 'directory' } as const;

const daemon = (name: string, summary: string, description: readonly string[], options: OptionSpecs, files: Command['files'], seeAlso: Command['seeAlso']): Command => ({
  name, section: 8, summary, options: { ...common, ...options }, ...(files === undefined ? {} : { files }), ...(seeAlso === undefined ? {} : { seeAlso }),
  description: [...description, 'Started by the supervisor of the node when `xosd` asks for it. SIGTERM ends it; SIGHUP makes it read its credentials again.'],
  exitStatus: [{ status: '0', meaning: 'asked to end' }, { status: '1', meaning: 'it could not start; the reason is in its log' }, commonExitStatus[2]!],
});

const relayd = daemon('xos-relayd', 'carry jobs between the nodes of a grid', [
  'Is the home end of the jobs that are started on this node, for their proxies, and the far end of the jobs that run here, in their cells: streams, signals, terminals. It chooses the node of each job by the table that `xosd` gives it.',
], { listen, state }, [
  { name: '/run/xos/relay.sock', summary: 'Socket of the proxies.' }, { name: '/run/xos/relayd.ctl', summary: 'Control socket; root only.' },
  { name: '/run/xos/policy', summary: 'All of /etc/xos/policy.d in one file, for xexec.' },
], [['xrun', 1], ['xosd', 8], ['xos-policy', 5]]);

const osd = daemon('xos-osd', 'keep the stripes of files', [
  'Keeps objects, the stripes of files, on the local disk and gives them to mounts that show a capability of a metadata server whose key it holds.',
], { listen, state }, [{ name: '/run/xos/osd.ctl', summary: 'Control socket; root only.' }], [['xvolume', 1], ['xos-mrc', 8], ['xosd', 8]]);

const mrc = daemon('xos-mrc', 'keep the names and attributes of files', [
  'Keeps the metadata of the volumes of a VO: names, attributes, locks, leases, and where the stripes are. It hands out the capabilities that the object servers ask for.',
], { listen, state }, [{ name: '/run/xos/mrc.ctl', summary: 'Control socket; root only.' }], [['xvolume', 1], ['xos-osd', 8], ['xosd', 8]]);

const mount = daemon('xos-mount', 'mount the volumes of a VO', [
  'Mounts all volumes of the VO at one place, by FUSE. Reads and writes go straight to the object servers, metadata to the metadata server; both are told by `xosd`.',
], { mount: { kind: 'text', value: 'DIR', summary: 'where the volumes appear', complete: 'directory' } },
[{ name: '/grid/VO/VOLUME', summary: 'The volumes.' }, { name: '/run/xos/mount-VO.ctl', summary: 'Control socket; root only.' }], [['xvolume', 1], ['xos-mrc', 8], ['xos-osd', 8]]);

const update: Command = {
  name: 'xos-update', section: 8,
  summary: 'update the base system of a disk image, and go back',
  description: [
    'A disk image of XtreemOS has two slots for its base, which is read-only. An update is written to the slot that is not running, after its signature and every part of it were checked, and is started at the next boot, on trial: unless the machine comes up and confirms it, the boot loader goes back to the version before by itself.',
    'Without a word it shows the versions: `*` is the running one; `trial` will be started on trial, `bad` did not prove itself or was sent back. What was written below /etc, /var, /home and /usr/local stays as it is.',
    'For root, on disk images only: an ISO and the nodes of a cluster have no slots, and a Debian with our packages is updated by apt.',
  ],
  synopsis: ['[--json]', '[--allow-older] [--reboot] [--key FILE] BUNDLE', '--rollback [--reboot]', '--confirm'],
  options: {
    json: { kind: 'flag', summary: 'print the versions as JSON' },
    rollback: { kind: 'flag', summary: 'start the version before at the next boot' },
    confirm: { kind: 'flag', summary: 'the running version is good; done at every boot that succeeds' },
    'allow-older': { kind: 'flag', summary: 'take a bundle whose version is older than the running one' },
    reboot: { kind: 'flag', summary: 'restart the machine when it is done' },
    key: { kind: 'text', value: 'FILE', summary: 'public key that the bundle must be signed by (default /usr/lib/xos/update.pub)', complete: 'file' },
  },
  arguments: [{ name: 'BUNDLE', summary: 'a file xtreemos-FLAVOUR-VERSION.update, or a disk that holds one', optional: true, complete: 'file' }],
  examples: [{ text: 'a new version now', line: 'xos-update --reboot xtreemos-pc-2.0.update' }, { text: 'back to the version before', line: 'xos-update --rollback --reboot' }],
  files: [{ name: '/usr/lib/xos/update.pub', summary: 'The key that updates are signed by.' }],
  exitStatus: commonExitStatus,
  seeAlso: [['xnode', 1], ['xos', 7]],
};

const install: Command = {
  name: 'xos-install', section: 8,
  summary: 'make a disk of the ISO that runs',
  description: [
    'Lays DISK out as a disk image of XtreemOS is: two slots for the base, boot loaders for BIOS and UEFI, and the rest of the disk for what is written. All that was on it is lost.',
    'For root, on a machine that was started from the ISO. Without DISK it shows the disks that there are.',
  ],
  synopsis: ['[--yes] DISK'],
  options: { yes: { kind: 'flag', summary: 'do not ask' } },
  arguments: [{ name: 'DISK', summary: 'a whole disk, for instance /dev/sda', complete: 'file' }],
  examples: [{ text: 'on a machine with one disk', line: 'xos-install /dev/sda' }],
  exitStatus: commonExitStatus,
  seeAlso: [['xos-update', 8], ['xnode', 1], ['xos', 7]],
};

export const declaredCommands: readonly Command[] = [xrun, xlocal, xenter, xosd, relayd, osd, mrc, mount, update, install];

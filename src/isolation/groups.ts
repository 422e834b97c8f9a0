import { XosError } from '../core/errors.ts';
import type { Disk, Spawn, SpawnResult } from '../core/ports.ts';
import type { Effective, PolicyKey } from './policy.ts';

/** Where the relay makes the control groups of a VO's jobs, and who sets the VO's limits. */
export interface VoGroup {
  /** Absolute; empty: the node has no cgroup v2. */
  readonly directory: string;
  /** Directory at which the relay may begin to make groups by itself; empty: it may only below `directory`. */
  readonly fence: string;
  /** What the relay writes into `directory`; empty where systemd has set the limits. */
  readonly settings: Readonly<Record<string, string>>;
  /** Group of all of the VO, below the mount point; empty without one. The firewall matches it. */
  readonly slice: string;
}

export interface GroupPorts {
  readonly disk: Disk;
  readonly spawn: Spawn;
}

/** `systemd`: slices are its units. `plain`: cgroup v2 that nobody else looks after. `none`: no cgroup v2, so no limits. */
export type Hierarchy = 'systemd' | 'plain' | 'none';

export const mount_point = '/sys/fs/cgroup';
/** Long: what runs once after a change may wait behind all of a machine's boot. */
const command_ms = 60_000;

export async function findHierarchy({ disk }: GroupPorts): Promise<Hierarchy> {
  const controllers = await disk.read(`${mount_point}/cgroup.controllers`);
  if (controllers === null) return 'none';
  return (await disk.facts('/run/systemd/system'))?.kind === 'directory' ? 'systemd' : 'plain';
}

/** A disk of the machine. */
export interface BlockDevice {
  /** `/dev/vda` */
  readonly path: string;
  /** `254:0`, as the kernel's files name it. */
  readonly number: string;
}

/**
 * The node's disks: what has a piece of hardware behind it. Limits are put on these and not on the file system of `/`: that may be an overlay, or
 * several file systems on several disks, and what is laid over disks (LVM, encryption) hands requests down with their control group.
 */
export async function findDisks({ disk }: Pick<GroupPorts, 'disk'>): Promise<readonly BlockDevice[]> {
  const found = await Promise.all((await disk.list('/sys/block')).map(async (name) => {
    const number = (await disk.facts(`/sys/block/${name}/device`)) === null ? null : await disk.read(`/sys/block/${name}/dev`);
    return number === null ? null : { path: `/dev/${name.replaceAll('!', '/')}`, number: number.toString('utf8').trim() };
  }));
  return found.filter((each) => each !== null);
}

/** A part of a unit's name: `-` would make a level of slices. Names of VOs have no other character that systemd escapes. */
const escaped = (vo: string): string => vo.replaceAll('-', '\\x2d');
export const sliceName = (vo: string): string => `xos-${escaped(vo)}.slice`;
export const cellsName = (vo: string): string => `xos-cells-${escaped(vo)}.service`;

/** What each policy is called by cgroup v2, and what is written. */
export function plainSettings(effective: Effective, disks: readonly BlockDevice[]): Readonly<Record<string, string>> {
  const value = (key: PolicyKey): string => effective.values[key].value;
  const percent = Number.parseInt(value('cpu.max'), 10);
  const settings: Record<string, string> = {
    'cpu.weight': value('cpu.weight'),
    'cpu.max': value('cpu.max') === 'max' ? 'max' : `${percent * 1000} 100000`,
    'memory.high': value('memory.high'),
    'memory.max': value('memory.max'),
    'pids.max': value('pids.max'),
  };
  // One line for each disk, also to take a limit back. The file for weights is there only with a scheduler that knows them.
  if (disks.length > 0) settings['io.max'] = disks.map(({ number }) => `${number} rbps=${value('io.read.max')} wbps=${value('io.write.max')}`).join('\n');
  if (value('io.weight') !== '100') settings['io.weight'] = `default ${value('io.weight')}`;
  return settings;
}

/** The same as properties of a slice. A weight is always there: a slice without one loses nearly all beside one that has it (DESIGN.md, 3.7). */
export function systemdProperties(effective: Effective, disks: readonly BlockDevice[]): readonly string[] {
  const value = (key: PolicyKey): string => effective.values[key].value;
  const orInfinity = (key: PolicyKey): string => (value(key) === 'max' ? 'infinity' : value(key));
  const bandwidth = (property: string, key: PolicyKey): readonly string[] => [`${property}=`, ...(value(key) === 'max' ? [] : disks.map(({ path }) => `${property}=${path} ${value(key)}`))];
  return [
    `CPUWeight=${value('cpu.weight')}`,
    `CPUQuota=${value('cpu.max') === 'max' ? '' : value('cpu.max')}`,
    `MemoryHigh=${orInfinity('memory.high')}`,
    `MemoryMax=${orInfinity('memory.max')}`,
    `TasksMax=${orInfinity('pids.max')}`,
    `IOWeight=${value('io.weight')}`,
    ...bandwidth('IOReadBandwidthMax', 'io.read.max'),
    ...bandwidth('IOWriteBandwidthMax', 'io.write.max'),
    `DevicePolicy=${value('devices') === 'few' ? 'closed' : 'auto'}`,
    'DeviceAllow=',
    ...(value('devices') === 'few' ? ['DeviceAllow=char-pts rw', 'DeviceAllow=/dev/tty rw', 'DeviceAllow=/dev/ptmx rw', 'DeviceAllow=/dev/fuse rw'] : []),
  ];
}

/** Makes the VO's groups as the policy wants them. `disks`: those that its limits are for. Throws XOS_CGROUP. */
export async function ensureGroup(hierarchy: Hierarchy, vo: string, effective: Effective, disks: readonly BlockDevice[], ports: GroupPorts, signal: AbortSignal): Promise<VoGroup> {
  if (hierarchy === 'none') return { directory: '', fence: '', settings: {}, slice: '' };
  if (hierarchy === 'plain') {
    const slice = `xos.slice/${sliceName(vo)}`;
    return { directory: `${mount_point}/${slice}`, fence: mount_point, settings: plainSettings(effective, disks), slice };
  }
  const run = async (program: string, args: readonly string[]): Promise<string> => output(program, args, await ports.spawn.run(program, args, { timeout_ms: command_ms, signal }));
  const [slice, cells] = [sliceName(vo), cellsName(vo)];
  await run('systemctl', ['set-property', '--runtime', 'xos.slice', 'CPUWeight=100', 'IOWeight=100', 'TasksAccounting=yes', 'MemoryAccounting=yes']);
  await run('systemctl', ['set-property', '--runtime', slice, ...systemdProperties(effective, disks)]);
  const show = async (): Promise<Record<string, string>> =>
    Object.fromEntries((await run('systemctl', ['show', '-p', 'ActiveState,ControlGroup', cells])).trim().split('\n').map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]));
  let state = await show();
  if (state['ActiveState'] !== 'active') {
    // Slices cannot be delegated, a service can. Its one process only keeps it alive; the relay makes the groups of the jobs beside it. An empty
    // group would be taken away, and OOMPolicy's default would end all jobs with the first one that takes too much.
    if (state['ActiveState'] === 'failed') await run('systemctl', ['reset-failed', cells]);
    await run('systemd-run', [
      '--quiet', `--unit=${cells}`, `--slice=${slice}`, `--description=Jobs of VO ${vo}`, '-p', 'Delegate=yes', '-p', 'DelegateSubgroup=keeper', '-p', 'OOMPolicy=continue',
      '-p', 'TasksMax=infinity', '-p', 'Restart=always', '-p', 'OOMScoreAdjust=-900', 'sleep', 'infinity',
    ]);
    state = await show();
  }
  const group = state['ControlGroup'] ?? '';
  if (!group.startsWith('/')) throw new XosError('XOS_CGROUP', `systemd names no control group for '${cells}'; look at 'systemctl status ${cells}'`);
  return { directory: mount_point + group, fence: '', settings: {}, slice: group.slice(1, group.lastIndexOf('/')) };
}

function output(program: string, args: readonly string[], result: SpawnResult): string {
  if (result.exit_code === 0) return result.stdout;
  throw new XosError('XOS_CGROUP', `cannot set up control groups: '${program} ${args.join(' ')}' ended with ${result.exit_code ?? result.exit_signal}: ${result.stderr.trim().slice(0, 300)}`);
}

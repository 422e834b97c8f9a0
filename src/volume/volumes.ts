import type { NodeContext } from '../daemon/context.ts';
import { XosError, hasCode } from '../core/errors.ts';
import { VolumeServiceDefinition, type Policy, type Volume } from '../proto/xos/volume/v1/volume.ts';
import type { RpcClient } from '../core/rpc.ts';
import type { VolumePolicy, VolumeRow } from '../api/operations/volume.ts';
import { badVolume, noMrc } from './errors.ts';
import { limits } from './limits.ts';

/** Helpers that the operations on volumes share. */

/** A volume's name is a directory below /grid/VO and part of a control message. Throws XOS_BAD_NAME. */
export function parseVolumeName(value: unknown): string {
  if (typeof value === 'string' && /^[a-z0-9_][a-z0-9._-]*$/.test(value) && value.length <= limits.volume_name_max) return value;
  throw badVolume(typeof value === 'string' ? value : typeof value, `a small letter, digit or "_" first, then also "." and "-", at most ${limits.volume_name_max} characters`);
}

/** Throws XOS_BAD_ARGUMENT; what is absent is left to the server's default. */
export function parsePolicy(value: Partial<VolumePolicy> | undefined): Policy {
  const { stripe_size = 0, width = 0, placement = '', atime = '', replication = '', replicas = 0 } = value ?? {};
  const bad = (what: string): XosError => new XosError('XOS_BAD_ARGUMENT', `cannot use this policy: ${what}`);
  if (stripe_size !== 0 && (!Number.isInteger(stripe_size) || stripe_size % 4096 !== 0 || stripe_size < 4096 || stripe_size > 4_194_304)) {
    throw bad(`a stripe of ${stripe_size} bytes is not a multiple of 4 KiB up to 4 MiB`);
  }
  if (width !== 0 && (!Number.isInteger(width) || width < 1 || width > 256)) throw bad(`a width of ${width} is not within 1 to 256`);
  if (!['', 'with-mrc', 'local', 'spread'].includes(placement)) throw bad(`placement '${placement}' is not with-mrc, local or spread`);
  if (!['', 'relatime', 'noatime'].includes(atime)) throw bad(`access times '${atime}' are not relatime or noatime`);
  if (!['', 'none', 'quorum', 'all'].includes(replication)) throw bad(`replication '${replication}' is not none, quorum or all`);
  if (replication === 'none' ? replicas > 1 : replicas !== 0 && (!Number.isInteger(replicas) || replicas < 2 || replicas > replicas_max)) throw bad(`${replicas} replicas are not within 2 to ${replicas_max}, or go with replication 'none'`);
  if (replication !== '' && replication !== 'none' && replicas === 0) throw bad(`replication '${replication}' needs to know how many replicas`);
  if (replication === '' && replicas !== 0) throw bad(`${replicas} replicas need to know the replication, quorum or all`);
  if (width > 1 && replicas > 1) throw bad('files with write replicas are not striped: the width must be 1');
  return { stripe_size, width, placement, atime, replication, replicas: replication === 'none' ? 1 : replicas };
}

const replicas_max = 7;

/** The policy as the MRC takes it: what is 0 or empty is not named, so that it stays as it is. */
export const namedPolicy = ({ stripe_size, width, placement, atime, replication, replicas }: Policy): Record<string, string | number> =>
  ({ ...(stripe_size > 0 ? { stripe_size } : {}), ...(width > 0 ? { width } : {}), ...(placement === '' ? {} : { placement }), ...(atime === '' ? {} : { atime }),
    ...(replication === '' ? {} : { replication, replicas }) });

export const policyRow = (policy: Policy | undefined): VolumePolicy => ({
  stripe_size: policy?.stripe_size ?? 0, width: policy?.width ?? 0, placement: (policy?.placement ?? '') as VolumePolicy['placement'],
  atime: policy?.atime === 'noatime' ? 'noatime' : 'relatime',
  replication: policy?.replication === 'quorum' || policy?.replication === 'all' ? policy.replication : 'none', replicas: Math.max(1, policy?.replicas ?? 1),
});

export const ownerName = (context: NodeContext, uid: number): string => (uid === 0 ? 'root' : context.members.byUid(uid)?.user ?? `${uid}`);

/** The volumes of the VO are with its (one) MRC. */
export function mrcClient(context: NodeContext): RpcClient<typeof VolumeServiceDefinition> {
  const record = context.members.withRole('mrc');
  if (record === null) throw noMrc(context.vo);
  return context.rpc.client(record.node, VolumeServiceDefinition);
}

export const isAdmin = (context: NodeContext, uid: number): boolean => uid === 0 || (context.members.byUid(uid)?.roles.includes('admin') ?? false);

export function volumeRow(context: NodeContext, volume: Volume): VolumeRow {
  return {
    volume: volume.volume, uid: volume.uid, gid: volume.gid, mode: volume.mode,
    owner: ownerName(context, volume.uid), policy: policyRow(volume.policy),
    used_bytes: volume.used_bytes ?? null, files: volume.files ?? null,
  };
}

/** Reads the answer of mrc.ctl `volume-list`. */
export function readVolumes(answer: unknown): readonly Volume[] {
  const list = typeof answer === 'object' && answer !== null && 'volumes' in answer && Array.isArray(answer.volumes) ? answer.volumes : [];
  return list.flatMap((value: unknown): Volume[] => {
    if (typeof value !== 'object' || value === null) return [];
    const fields = value as Readonly<Record<string, unknown>>;
    const policy = (typeof fields['policy'] === 'object' && fields['policy'] !== null ? fields['policy'] : fields) as Readonly<Record<string, unknown>>;
    if (typeof fields['name'] !== 'string') return [];
    return [{
      volume: fields['name'], uid: number(fields['uid']), gid: number(fields['gid']), mode: number(fields['mode']) & 0o7777,
      policy: readPolicy(policy),
      used_bytes: maybe(fields['used_bytes']), files: maybe(fields['files']),
    }];
  });
}

/** Reads a policy of mrc.ctl. */
export const readPolicy = (fields: Readonly<Record<string, unknown>>): Policy => ({
  stripe_size: number(fields['stripe_size']), width: number(fields['width']), placement: String(fields['placement'] ?? ''), atime: String(fields['atime'] ?? 'relatime'),
  replication: String(fields['replication'] ?? 'none'), replicas: number(fields['replicas']),
});

/** True for an answer of the MRC that means: it is there already. */
export const isExists = (thrown: unknown): boolean => hasCode(thrown, 'XOS_EXISTS', 'XOS_VOLUME_EXISTS', 'XOS_EEXIST');

const maybe = (value: unknown): number | undefined => (typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : undefined);
export const number = (value: unknown): number => Math.trunc(maybe(value) ?? 0);

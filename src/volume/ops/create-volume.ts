import type { NodeContext } from '../../daemon/context.ts';
import { XosError } from '../../core/errors.ts';
import type { CreateRequest, Volume } from '../../proto/xos/volume/v1/volume.ts';
import type { VolumePolicy, VolumeRow } from '../../api/operations/volume.ts';
import { noVolume, notAdmin, volumeExists } from '../errors.ts';
import { limits } from '../limits.ts';
import { isAdmin, isExists, mrcClient, namedPolicy, parsePolicy, parseVolumeName, readVolumes, volumeRow } from '../volumes.ts';

/** xosd.sock `volume-create`. */
export async function createVolume(
  context: NodeContext, asker: { readonly uid: number; readonly gid: number },
  request: { volume: string; owner?: string; mode?: number; policy?: Partial<VolumePolicy> }, signal: AbortSignal,
): Promise<{ readonly volume: VolumeRow }> {
  const volume = parseVolumeName(request.volume);
  if (!isAdmin(context, asker.uid)) throw notAdmin('create', volume);
  const owner = ownerOf(context, asker, request.owner);
  const mode = request.mode ?? 0o700;
  if (!Number.isInteger(mode) || mode < 0 || mode > 0o7777) throw new XosError('XOS_BAD_ARGUMENT', `cannot create volume '${volume}': mode ${mode} is not within 0 to 7777 (octal)`);
  const made = await mrcClient(context).create(
    { volume, owner_uid: owner.uid, owner_gid: owner.gid, mode, policy: parsePolicy(request.policy), uid: asker.uid, ensure: false },
    { deadline_ms: limits.volume_deadline_ms, signal });
  return { volume: volumeRow(context, made) };
}

/** gRPC Create, on the MRC's node. A member's own home may be made by any node (at login); anything else takes an administrator. */
export async function createHere(context: NodeContext, request: CreateRequest, signal: AbortSignal): Promise<Volume> {
  const volume = parseVolumeName(request.volume);
  const policy = namedPolicy(parsePolicy(request.policy as Partial<VolumePolicy> | undefined));
  const member = context.members.byUid(request.owner_uid);
  const home = request.ensure && member !== null && volume === `home.${member.user}`;
  if (!home && !isAdmin(context, request.uid)) throw notAdmin('create', volume);
  const existing = await find(context, volume, signal);
  if (existing !== null && request.ensure) return existing;
  if (existing !== null) throw volumeExists(volume);
  try {
    await context.native.mrc.request('volume-create', { name: volume, uid: request.owner_uid, gid: request.owner_gid, mode: request.mode, policy }, { signal });
  } catch (thrown) {
    // Two logins of the same user on two nodes at once: the second one finds the home made.
    if (!isExists(thrown)) throw thrown;
    if (!request.ensure) throw volumeExists(volume);
  }
  const made = await find(context, volume, signal);
  if (made === null) throw noVolume('find the new', volume);
  return made;
}

async function find(context: NodeContext, volume: string, signal: AbortSignal): Promise<Volume | null> {
  return readVolumes(await context.native.mrc.request('volume-list', {}, { signal })).find((each) => each.volume === volume) ?? null;
}

function ownerOf(context: NodeContext, asker: { readonly uid: number; readonly gid: number }, owner: string | undefined): { readonly uid: number; readonly gid: number } {
  if (owner === undefined) return asker;
  const member = context.members.get(owner.endsWith(`@${context.vo}`) ? owner.slice(0, -context.vo.length - 1) : owner);
  if (member === null) throw new XosError('XOS_NO_USER', `cannot create a volume for '${owner}': VO '${context.vo}' has no such member; 'xvo member list' shows them`, { user: owner });
  return member;
}

import type { NodeContext } from '../../daemon/context.ts';
import { XosError } from '../../core/errors.ts';
import type { SetQuotaRequest } from '../../proto/xos/volume/v1/volume.ts';
import { notAdmin } from '../errors.ts';
import { limits } from '../limits.ts';
import { isAdmin, mrcClient, parseVolumeName } from '../volumes.ts';

/** xosd.sock `volume-quota`. */
export async function setQuota(
  context: NodeContext, asker: { readonly uid: number },
  request: { readonly volume: string; readonly user?: string; readonly bytes_max?: number; readonly files_max?: number }, signal: AbortSignal,
): Promise<Record<string, never>> {
  const { user, bytes_max, files_max } = request;
  const volume = parseVolumeName(request.volume);
  if (!isAdmin(context, asker.uid)) throw notAdmin('limit', volume);
  for (const limit of [bytes_max, files_max]) {
    if (limit !== undefined && (!Number.isSafeInteger(limit) || limit < 0)) throw new XosError('XOS_BAD_ARGUMENT', `cannot limit volume '${volume}': ${limit} is not a whole number from 0 on`, { volume });
  }
  await mrcClient(context).setQuota(
    { volume, uid: asker.uid, user: user === undefined || user === '*' ? undefined : uidOf(context, volume, user), every_user: user === '*', bytes_max, files_max },
    { deadline_ms: limits.volume_deadline_ms, signal });
  return {};
}

/** gRPC SetQuota, on the MRC's node. */
export async function setQuotaHere(context: NodeContext, request: SetQuotaRequest, signal: AbortSignal): Promise<Record<string, never>> {
  const { uid, user, every_user, bytes_max, files_max } = request;
  const volume = parseVolumeName(request.volume);
  if (!isAdmin(context, uid)) throw notAdmin('limit', volume);
  // The first limit of a volume counts all its files.
  await context.native.mrc.request('quota-set', {
    volume, default: every_user, ...(user === undefined ? {} : { uid: user }), ...(bytes_max === undefined ? {} : { bytes_max }), ...(files_max === undefined ? {} : { files_max }),
  }, { signal, timeout_ms: limits.volume_deadline_ms });
  return {};
}

function uidOf(context: NodeContext, volume: string, user: string): number {
  if (user === 'root') return 0;
  const member = context.members.get(user.endsWith(`@${context.vo}`) ? user.slice(0, -context.vo.length - 1) : user);
  if (member === null) throw new XosError('XOS_NO_USER', `cannot limit '${user}' in volume '${volume}': VO '${context.vo}' has no such member; 'xvo member list' shows them`, { user });
  return member.uid;
}

import type { NodeContext } from '../../daemon/context.ts';
import type { RemoveRequest } from '../../proto/xos/volume/v1/volume.ts';
import { noVolume, notAdmin } from '../errors.ts';
import { limits } from '../limits.ts';
import { isAdmin, mrcClient, parseVolumeName, readVolumes } from '../volumes.ts';

/** xosd.sock `volume-remove`. */
export async function removeVolume(context: NodeContext, asker: { readonly uid: number }, request: { volume: string }, signal: AbortSignal): Promise<Record<string, never>> {
  const volume = parseVolumeName(request.volume);
  if (!isAdmin(context, asker.uid)) throw notAdmin('remove', volume);
  await mrcClient(context).remove({ volume, uid: asker.uid }, { deadline_ms: limits.volume_deadline_ms, signal });
  return {};
}

/** gRPC Remove, on the MRC's node. */
export async function removeHere(context: NodeContext, request: RemoveRequest, signal: AbortSignal): Promise<Record<string, never>> {
  const volume = parseVolumeName(request.volume);
  if (!isAdmin(context, request.uid)) throw notAdmin('remove', volume);
  const volumes = readVolumes(await context.native.mrc.request('volume-list', {}, { signal }));
  if (!volumes.some((each) => each.volume === volume)) throw noVolume('remove', volume);
  await context.native.mrc.request('volume-remove', { name: volume, force: true }, { signal, timeout_ms: limits.volume_deadline_ms });
  return {};
}

import type { NodeContext } from '../../daemon/context.ts';
import type { Usage, UsageReply, UsageRequest } from '../../proto/xos/volume/v1/volume.ts';
import type { UsageRow, VolumeUsage } from '../../api/operations/volume.ts';
import { limits } from '../limits.ts';
import { isAdmin, mrcClient, number, ownerName, parseVolumeName } from '../volumes.ts';
import { record } from './inspect.ts';

/** xosd.sock `volume-usage`. */
export async function usage(context: NodeContext, asker: { readonly uid: number }, request: { readonly volume: string }, signal: AbortSignal): Promise<VolumeUsage> {
  const { all, every_user, users } = await mrcClient(context).getUsage(
    { volume: parseVolumeName(request.volume), uid: asker.uid }, { deadline_ms: limits.volume_deadline_ms, signal });
  return {
    all: row(all), every_user: row(every_user),
    users: users.map((each) => ({ uid: each.uid, user: ownerName(context, each.uid), ...row(each.usage) })).sort((a, b) => b.bytes - a.bytes || a.uid - b.uid),
  };
}

/** gRPC GetUsage, on the MRC's node. */
export async function usageHere(context: NodeContext, request: UsageRequest, signal: AbortSignal): Promise<UsageReply> {
  const volume = parseVolumeName(request.volume);
  const fields = await context.native.mrc.request<Readonly<Record<string, unknown>>>('usage', { volume }, { signal, timeout_ms: limits.volume_deadline_ms });
  const users = Array.isArray(fields['users']) ? fields['users'].map((each) => ({ uid: number(record(each)['uid']), usage: read(each) })) : [];
  return { all: read(fields['all']), every_user: read(fields['default']), users: users.filter(({ uid }) => uid === request.uid || isAdmin(context, request.uid)) };
}

const read = (value: unknown): Usage => {
  const fields = record(value);
  return { bytes: number(fields['bytes']), files: number(fields['files']), bytes_max: number(fields['bytes_max']), files_max: number(fields['files_max']) };
};

const row = (usage: Usage | undefined): UsageRow => usage ?? { bytes: 0, files: 0, bytes_max: 0, files_max: 0 };

import type { NodeContext } from '../../daemon/context.ts';
import { XosError } from '../../core/errors.ts';
import type { InspectRequest, Inspection, StripeOsd } from '../../proto/xos/volume/v1/volume.ts';
import type { VolumeInspection, VolumeObject } from '../../api/operations/volume.ts';
import { limits } from '../limits.ts';
import { mrcClient, number, ownerName, parseVolumeName, policyRow, readPolicy } from '../volumes.ts';

/** xosd.sock `volume-inspect`; anyone may ask: what is told is no secret of the file's (its size and mode are for those who can see it). */
export async function inspect(context: NodeContext, request: VolumeObject, signal: AbortSignal): Promise<VolumeInspection> {
  const found = await mrcClient(context).inspect(parseObject(request), { deadline_ms: limits.report_deadline_ms, signal });
  const { volume, type, owner_uid, policy, own_policy, has_acl, stripe_size, width, osds } = found;
  return {
    volume, type, own_policy, has_acl, owner: ownerName(context, owner_uid), policy: policyRow(policy),
    stripes: width === 0 ? null : { stripe_size, width, osds },
  };
}

/** gRPC Inspect, on the MRC's node. */
export async function inspectHere(context: NodeContext, request: InspectRequest, signal: AbortSignal): Promise<Inspection> {
  const fields = await context.native.mrc.request<Readonly<Record<string, unknown>>>('inode-show', objectFields(request), { signal });
  const stripes = record(fields['stripes']);
  return {
    volume: String(fields['volume'] ?? ''), type: String(fields['type'] ?? ''), owner_uid: number(fields['uid']), policy: readPolicy(record(fields['policy'])),
    own_policy: fields['own_policy'] === true, has_acl: fields['acl'] === true, stripe_size: number(stripes['stripe_size']), width: number(stripes['width']),
    osds: stripeOsds(stripes['osds']),
  };
}

/** OSDs as mrc.ctl tells of them. */
export const stripeOsds = (value: unknown): StripeOsd[] => (Array.isArray(value) ? value.map(record) : [])
  .map((osd) => ({ osd: String(osd['osd'] ?? ''), node: String(osd['node'] ?? ''), up: osd['up'] === true }));

/** A volume's name, or an inode number. Throws XOS_BAD_NAME, XOS_BAD_ARGUMENT. */
export function parseObject(request: VolumeObject): InspectRequest {
  if (request.volume !== undefined) return { volume: parseVolumeName(request.volume), id: 0 };
  const { inode: id } = request;
  if (id === undefined || !Number.isSafeInteger(id) || id < 2) throw new XosError('XOS_BAD_ARGUMENT', `cannot find file ${String(id)}: it must be a volume's name or an inode number`);
  return { volume: '', id };
}

/** The same for mrc.ctl. */
export const objectFields = ({ volume, id }: InspectRequest): Record<string, string | number> => (volume === '' ? { inode: id } : { volume: parseVolumeName(volume) });

export const record = (value: unknown): Readonly<Record<string, unknown>> => (typeof value === 'object' && value !== null ? value as Readonly<Record<string, unknown>> : {});

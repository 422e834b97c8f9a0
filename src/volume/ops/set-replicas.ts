import type { NodeContext } from '../../daemon/context.ts';
import { XosError } from '../../core/errors.ts';
import { parseNodeId } from '../../core/ids.ts';
import type { Replicas, SetReplicasRequest } from '../../proto/xos/volume/v1/volume.ts';
import type { ReplicasRequest, ReplicasRow } from '../../api/operations/volume.ts';
import { limits } from '../limits.ts';
import { isAdmin, mrcClient, number } from '../volumes.ts';
import { inspectHere, parseObject, record, stripeOsds } from './inspect.ts';

const count_max = 16;

/** xosd.sock `volume-replicas`. */
export async function setReplicas(context: NodeContext, asker: { readonly uid: number }, request: ReplicasRequest, signal: AbortSignal): Promise<ReplicasRow> {
  const { id } = parseObject({ inode: request.inode });
  const count = request.action === 'count' ? request.count : 0;
  if (request.action === 'count' && (!Number.isSafeInteger(count) || count < 1 || count > count_max)) {
    throw new XosError('XOS_BAD_ARGUMENT', `cannot keep ${count} copies of file ${id}: it must be 1 to ${count_max}`);
  }
  const osd = request.action === 'add' || request.action === 'drop' ? parseNodeId(request.osd) : '';
  return await mrcClient(context).setReplicas({ uid: asker.uid, id, action: request.action, count, osd }, { deadline_ms: limits.volume_deadline_ms, signal });
}

/** gRPC SetReplicas, on the MRC's node. */
export async function setReplicasHere(context: NodeContext, request: SetReplicasRequest, signal: AbortSignal): Promise<Replicas> {
  const { uid, action, count, osd } = request;
  const { id } = parseObject({ inode: request.id });
  const { volume, type, owner_uid } = await inspectHere(context, { volume: '', id }, signal);
  if (action !== 'status' && uid !== owner_uid && !isAdmin(context, uid)) {
    throw new XosError('XOS_DENIED', `cannot change the replicas of this ${type} in volume '${volume}': only its owner and administrators of the VO may`, { volume });
  }
  const fields = await context.native.mrc.request<Readonly<Record<string, unknown>>>('replicas', askedOf(id, action, count, osd), { signal, timeout_ms: limits.volume_deadline_ms });
  const copies = Array.isArray(fields['copies']) ? fields['copies'].map(record) : [];
  return {
    copies: copies.map((copy) => ({ state: String(copy['state'] ?? ''), osds: stripeOsds(copy['osds']) })),
    running: fields['running'] === true, bytes: number(fields['bytes']), bytes_total: number(fields['bytes_total']), reason: String(fields['reason'] ?? ''),
  };
}

function askedOf(inode: number, action: string, count: number, osd: string): Record<string, string | number> {
  switch (action) {
    case 'count': return { inode, action, count };
    case 'add':
    case 'drop': return { inode, action, osd: parseNodeId(osd) };
    case 'status': return { inode, action };
    default: throw new XosError('XOS_BAD_ARGUMENT', `cannot '${action}' replicas: it must be count, add, drop or status`);
  }
}

import type { NodeContext } from '../../daemon/context.ts';
import { XosError } from '../../core/errors.ts';
import { parseNodeId } from '../../core/ids.ts';
import type { OsdCare, SetOsdRequest } from '../../proto/xos/volume/v1/volume.ts';
import type { OsdCareRow } from '../../api/operations/volume.ts';
import { limits } from '../limits.ts';
import { isAdmin, mrcClient, number } from '../volumes.ts';

const actions = ['drain', 'use', 'remove', 'status'];

/** xosd.sock `volume-osd`. */
export async function setOsd(context: NodeContext, asker: { readonly uid: number }, request: { readonly osd: string; readonly action: string }, signal: AbortSignal): Promise<OsdCareRow> {
  demandAdmin(context, asker.uid);
  return await mrcClient(context).setOsd({ uid: asker.uid, osd: request.osd, action: request.action }, { deadline_ms: limits.volume_deadline_ms, signal });
}

/** gRPC SetOsd, on the MRC's node. */
export async function setOsdHere(context: NodeContext, request: SetOsdRequest, signal: AbortSignal): Promise<OsdCare> {
  demandAdmin(context, request.uid);
  const osd = parseNodeId(request.osd);
  const { action } = request;
  if (!actions.includes(action)) throw new XosError('XOS_BAD_ARGUMENT', `cannot '${action}' OSD '${osd}': it must be ${actions.join(', ')}`);
  const fields = await context.native.mrc.request<Readonly<Record<string, unknown>>>('osd', { osd, action }, { signal, timeout_ms: limits.volume_deadline_ms });
  const of = (name: string): number => number(fields[name]);
  return {
    osd, state: String(fields['state'] ?? ''), drained: fields['drained'] === true, left: of('left'), moved: of('moved'), moved_bytes: of('moved_bytes'),
    busy: of('busy'), failed: of('failed'), reason: String(fields['reason'] ?? ''),
  };
}

function demandAdmin(context: NodeContext, uid: number): void {
  if (!isAdmin(context, uid)) throw new XosError('XOS_DENIED', "cannot look after object servers: that takes the role 'admin' in the VO; ask one who has it");
}

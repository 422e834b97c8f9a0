import type { NodeContext } from '../../daemon/context.ts';
import { XosError } from '../../core/errors.ts';
import type { CheckReply, CheckRequest } from '../../proto/xos/volume/v1/volume.ts';
import type { VolumeCheck } from '../../api/operations/volume.ts';
import { limits } from '../limits.ts';
import { isAdmin, mrcClient, number } from '../volumes.ts';

/** xosd.sock `volume-check`. */
export async function check(context: NodeContext, asker: { readonly uid: number }, request: { readonly repair: boolean }, signal: AbortSignal): Promise<VolumeCheck> {
  demandAdmin(context, asker.uid);
  const { inodes, entries, problems, found } = await mrcClient(context).check({ uid: asker.uid, repair: request.repair }, { deadline_ms: limits.check_deadline_ms, signal });
  return { inodes, entries, problems, found };
}

/** gRPC Check, on the MRC's node. */
export async function checkHere(context: NodeContext, request: CheckRequest, signal: AbortSignal): Promise<CheckReply> {
  demandAdmin(context, request.uid);
  const fields = await context.native.mrc.request<Readonly<Record<string, unknown>>>('check', { repair: request.repair }, { signal, timeout_ms: limits.check_deadline_ms });
  const found = Array.isArray(fields['found']) ? fields['found'].map(String) : [];
  return { inodes: number(fields['inodes']), entries: number(fields['entries']), problems: number(fields['problems']), found };
}

/** Names and owners of everybody's files may be in the answer. */
function demandAdmin(context: NodeContext, uid: number): void {
  if (!isAdmin(context, uid)) throw new XosError('XOS_DENIED', "cannot check the metadata: that takes the role 'admin' in the VO; ask one who has it");
}

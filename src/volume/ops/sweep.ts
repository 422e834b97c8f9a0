import type { NodeContext } from '../../daemon/context.ts';
import { XosError } from '../../core/errors.ts';
import type { SweepReply, SweepRequest } from '../../proto/xos/volume/v1/volume.ts';
import type { OrphanSweep } from '../../api/operations/volume.ts';
import { limits } from '../limits.ts';
import { isAdmin, mrcClient, number } from '../volumes.ts';

const actions = ['start', 'stop', 'status'];

/** xosd.sock `volume-orphans`: starts it, tells how far it is, and ends it when the caller has gone. */
export async function* sweep(
  context: NodeContext, asker: { readonly uid: number }, request: { readonly remove: boolean; readonly grace_ms?: number }, signal: AbortSignal,
): AsyncGenerator<OrphanSweep, OrphanSweep, void> {
  demandAdmin(context, asker.uid);
  const { grace_ms } = request;
  if (grace_ms !== undefined && (!Number.isSafeInteger(grace_ms) || grace_ms < 0)) throw new XosError('XOS_BAD_ARGUMENT', `cannot look for orphans: a grace of ${grace_ms} ms is no time`);
  const ask = async (action: string, end?: AbortSignal): Promise<SweepReply> =>
    await mrcClient(context).sweep({ uid: asker.uid, action, remove: request.remove, grace_ms }, { deadline_ms: limits.report_deadline_ms, ...(end === undefined ? {} : { signal: end }) });
  let now = await ask('start', signal);
  try {
    while (now.running) {
      yield result(now);
      await context.ports.clock.sleep(limits.progress_interval_ms, signal);
      now = await ask('status', signal);
    }
  } catch (thrown) {
    await ask('stop').catch(() => undefined);
    throw thrown;
  }
  return result(now);
}

/** gRPC Sweep, on the MRC's node. */
export async function sweepHere(context: NodeContext, request: SweepRequest, signal: AbortSignal): Promise<SweepReply> {
  demandAdmin(context, request.uid);
  const { action, remove, grace_ms } = request;
  if (!actions.includes(action)) throw new XosError('XOS_BAD_ARGUMENT', `cannot '${action}' the look for orphans: it must be ${actions.join(', ')}`);
  const fields = await context.native.mrc.request<Readonly<Record<string, unknown>>>('sweep', { action, remove, ...(grace_ms === undefined ? {} : { grace_ms }) }, { signal });
  const of = (name: string): number => number(fields[name]);
  return {
    running: fields['running'] === true, removing: fields['removing'] === true, whole: fields['whole'] === true,
    osds: of('osds'), osds_done: of('osds_done'), osds_away: of('osds_away'), objects: of('objects'), orphans: of('orphans'), orphan_bytes: of('orphan_bytes'),
    removed: of('removed'), failed: of('failed'), young: of('young'), unknown: of('unknown'),
  };
}

const result = ({ running: _running, removing: _removing, ...rest }: SweepReply): OrphanSweep => rest;

function demandAdmin(context: NodeContext, uid: number): void {
  if (!isAdmin(context, uid)) throw new XosError('XOS_DENIED', "cannot look for orphaned objects: that takes the role 'admin' in the VO; ask one who has it");
}

import type { NodeContext } from '../../daemon/context.ts';
import { XosError } from '../../core/errors.ts';
import type { TransferReply, TransferRequest } from '../../proto/xos/volume/v1/volume.ts';
import type { TransferAnswer, TransferStep } from '../../api/operations/volume.ts';
import { limits } from '../limits.ts';
import { isAdmin, mrcClient, number, parseVolumeName } from '../volumes.ts';

const steps = ['dump-begin', 'dump-read', 'restore-begin', 'restore-write', 'restore-commit', 'transfer-end'];

/** xosd.sock `volume-transfer`. The caller drives it piece by piece, so nothing piles up on the way. */
export async function transfer(context: NodeContext, asker: { readonly uid: number }, request: TransferStep, signal: AbortSignal): Promise<TransferAnswer> {
  demandAdmin(context, asker.uid);
  const fields: Partial<TransferRequest> = { ...request, data: 'data' in request ? piece(request.data) : Buffer.alloc(0) };
  const { data, ...rest } = await mrcClient(context).transfer(
    { transfer: 0, volume: '', incomplete: false, data: Buffer.alloc(0), step: '', ...fields, uid: asker.uid }, { deadline_ms: limits.check_deadline_ms, signal });
  return { ...rest, data: Buffer.from(data).toString('base64') };
}

/** gRPC Transfer, on the MRC's node. */
export async function transferHere(context: NodeContext, request: TransferRequest, signal: AbortSignal): Promise<TransferReply> {
  demandAdmin(context, request.uid);
  const { step, transfer: id, incomplete, data } = request;
  if (!steps.includes(step)) throw new XosError('XOS_BAD_ARGUMENT', `cannot do step '${step}' of a transfer: it must be ${steps.join(', ')}`);
  const named = step === 'dump-begin' || step === 'restore-commit';
  const fields = await context.native.mrc.request<Readonly<Record<string, unknown>>>(step, {
    ...(id === 0 ? {} : { transfer: id }), ...(named ? { volume: parseVolumeName(request.volume) } : {}),
    ...(step === 'restore-write' ? { data: Buffer.from(data).toString('base64') } : {}), ...(step === 'restore-commit' ? { incomplete } : {}),
  }, { signal, timeout_ms: limits.check_deadline_ms });
  const of = (name: string): number => number(fields[name]);
  return {
    transfer: of('transfer'), end: fields['end'] === true, inodes: of('inodes'), names: of('names'), bytes: of('bytes'), empty: of('empty'),
    data: Buffer.from(typeof fields['data'] === 'string' ? fields['data'] : '', 'base64'),
  };
}

function piece(data: unknown): Buffer {
  if (typeof data !== 'string' || data.length > limits.transfer_piece_bytes * 2 || !/^[A-Za-z0-9+/]*={0,2}$/.test(data)) {
    throw new XosError('XOS_BAD_ARGUMENT', `cannot take a piece of a dump: it must be base64 of at most ${limits.transfer_piece_bytes} bytes`);
  }
  return Buffer.from(data, 'base64');
}

/** Names and owners of everybody's files are in it. */
function demandAdmin(context: NodeContext, uid: number): void {
  if (!isAdmin(context, uid)) throw new XosError('XOS_DENIED', "cannot dump or restore metadata: that takes the role 'admin' in the VO; ask one who has it");
}

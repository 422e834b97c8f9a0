import type { NodeContext } from '../../daemon/context.ts';
import { XosError } from '../../core/errors.ts';
import type { SnapshotsReply, SnapshotsRequest as Request } from '../../proto/xos/volume/v1/volume.ts';
import type { SnapshotsRequest, SnapshotsRow } from '../../api/operations/volume.ts';
import { limits } from '../limits.ts';
import { isAdmin, mrcClient, number } from '../volumes.ts';
import { inspectHere, objectFields, parseObject, record } from './inspect.ts';

const name_bytes_max = 255;

/** xosd.sock `volume-snapshots`. */
export async function snapshots(context: NodeContext, asker: { readonly uid: number }, request: SnapshotsRequest, signal: AbortSignal): Promise<SnapshotsRow> {
  const object = parseObject(request);
  const name = request.action === 'list' ? '' : parseName(request.name);
  return await mrcClient(context).snapshots({ uid: asker.uid, ...object, action: request.action, name }, { deadline_ms: limits.check_deadline_ms, signal });
}

/** gRPC Snapshots, on the MRC's node. */
export async function snapshotsHere(context: NodeContext, request: Request, signal: AbortSignal): Promise<SnapshotsReply> {
  const { uid, action } = request;
  const object = request.volume === '' ? parseObject({ inode: request.id }) : parseObject({ volume: request.volume });
  if (action !== 'create' && action !== 'remove' && action !== 'list') throw new XosError('XOS_BAD_ARGUMENT', `cannot '${action}' snapshots: it must be create, remove or list`);
  const { volume } = await inspectHere(context, object, signal);
  if (action !== 'list') {
    // The volume's owner, whoever may own what was named.
    const { owner_uid } = await inspectHere(context, parseObject({ volume }), signal);
    if (uid !== owner_uid && !isAdmin(context, uid)) {
      throw new XosError('XOS_DENIED', `cannot ${action} a snapshot of volume '${volume}': only its owner and administrators of the VO may`, { volume });
    }
  }
  const fields = await context.native.mrc.request<Readonly<Record<string, unknown>>>(
    'snapshot', { ...objectFields(object), action, ...(action === 'list' ? {} : { name: parseName(request.name) }) }, { signal, timeout_ms: limits.check_deadline_ms });
  const list = Array.isArray(fields['snapshots']) ? fields['snapshots'].map(record) : [];
  return {
    volume, files: number(fields['files']), writing: number(fields['writing']),
    snapshots: list.map((each) => ({ name: String(each['name'] ?? ''), created_ms: number(each['created_ms']) })),
  };
}

/** The name is one of a directory. */
function parseName(name: unknown): string {
  if (typeof name !== 'string' || name === '' || name === '.' || name === '..' || /[/\0]/.test(name) || Buffer.byteLength(name) > name_bytes_max) {
    throw new XosError('XOS_BAD_ARGUMENT', `cannot use '${String(name)}' as the name of a snapshot: it must be 1 to ${name_bytes_max} bytes without '/', and not '.' or '..'`);
  }
  return name;
}

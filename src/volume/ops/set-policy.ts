import type { NodeContext } from '../../daemon/context.ts';
import { XosError } from '../../core/errors.ts';
import type { SetPolicyRequest } from '../../proto/xos/volume/v1/volume.ts';
import type { VolumeObject, VolumePolicy } from '../../api/operations/volume.ts';
import { limits } from '../limits.ts';
import { isAdmin, mrcClient, namedPolicy, parsePolicy } from '../volumes.ts';
import { inspectHere, objectFields, parseObject } from './inspect.ts';

/** xosd.sock `volume-policy`. */
export async function setPolicy(
  context: NodeContext, asker: { readonly uid: number }, request: VolumeObject & { readonly policy: Partial<VolumePolicy> | null }, signal: AbortSignal,
): Promise<Record<string, never>> {
  const policy = request.policy === null ? undefined : parsePolicy(request.policy);
  await mrcClient(context).setPolicy({ ...parseObject(request), policy, uid: asker.uid }, { deadline_ms: limits.report_deadline_ms, signal });
  return {};
}

/** gRPC SetPolicy, on the MRC's node. */
export async function setPolicyHere(context: NodeContext, request: SetPolicyRequest, signal: AbortSignal): Promise<Record<string, never>> {
  const { volume, type, owner_uid } = await inspectHere(context, request, signal);
  if (request.uid !== owner_uid && !isAdmin(context, request.uid)) {
    throw new XosError('XOS_DENIED', `cannot change the policy of this ${type} in volume '${volume}': only its owner and administrators of the VO may`, { volume });
  }
  const policy = request.policy === undefined ? null : namedPolicy(parsePolicy(request.policy as Partial<VolumePolicy>));
  if (policy !== null && 'atime' in policy && type !== 'volume') {
    throw new XosError('XOS_BAD_ARGUMENT', `cannot set access times of this ${type} in volume '${volume}': they are a matter of the whole volume`, { volume });
  }
  await context.native.mrc.request('policy-set', { ...objectFields(request), policy }, { signal });
  return {};
}

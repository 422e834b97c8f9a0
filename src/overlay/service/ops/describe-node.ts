import type { ApiCaller } from '../../../api/registry.ts';
import type { OverlayOperations } from '../../../api/operations/overlay.ts';
import { XosError } from '../../../core/errors.ts';
import type { RunningOverlay } from '../handle.ts';
import { limits } from '../limits.ts';
import { principalOf } from '../principal.ts';

type DescribeNode = OverlayOperations['node-describe'];

/** xosd.sock `node-describe`. Attributes: root of the node; metrics: members too. Throws XOS_BAD_ARGUMENT, XOS_DENIED, XOS_BUSY, XOS_UNAVAILABLE. */
export async function describeNode(service: RunningOverlay, caller: ApiCaller, request: DescribeNode['request']): Promise<DescribeNode['response']> {
  const { context } = service.options;
  principalOf(context, caller, 'describe this node');
  const { described } = service;
  const now_ms = context.ports.clock.monotonic_ms();
  const { set = {}, unset = [], metrics = {} } = request;
  const life_ms = Number(request.life_s ?? limits.metric_life_ms / 1_000) * 1_000;
  if ((Object.keys(set).length > 0 || unset.length > 0) && caller.uid !== 0) throw new XosError('XOS_DENIED', 'cannot change the attributes of this node: they are its administrator\'s to say; metrics (metric.NAME=VALUE) are for members');
  const before = described.attributes;
  if (Object.keys(set).length > 0 || unset.length > 0) described.change(set, unset);
  let again = described.attributes !== before;
  for (const [name, value] of Object.entries(metrics)) again = described.measure(name, value, caller.uid, now_ms, life_ms) || again;
  try {
    if (again) await service.describeAgain();
  } catch (thrown) {
    described.attributes = before;
    throw thrown;
  }
  return { attributes: described.attributes, metrics: described.values(now_ms) };
}

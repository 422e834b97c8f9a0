import type { FoundNode, OverlayOperations } from '../../../api/operations/overlay.ts';
import { XosError } from '../../../core/errors.ts';
import type { Descriptor } from '../../core/index.ts';
import { askedDirectly, find, fitsNow, understand } from '../find.ts';
import { askDirectory } from '../ask-directory.ts';
import { limits } from '../limits.ts';
import type { RunningOverlay } from '../handle.ts';
import { split } from '../transport.ts';

type QueryNodes = OverlayOperations['node-query'];

/** How many more than wanted are asked what they do now: some of them will be busy. */
const margin = 3;

/** xosd.sock `node-query`. Anyone may ask. Throws XOS_BAD_QUERY, XOS_BAD_ARGUMENT, XOS_BUSY, XOS_TIMEOUT, XOS_UNAVAILABLE. */
export async function queryNodes(service: RunningOverlay, request: QueryNodes['request'], signal: AbortSignal): Promise<QueryNodes['response']> {
  const count = Number(request.count ?? 0);
  if (!Number.isInteger(count) || count < 0 || count > limits.query_count_max) throw new XosError('XOS_BAD_ARGUMENT', `a query is for 0 (all) to ${limits.query_count_max} nodes, not ${String(request.count)}`);
  const { clock } = service.options.context.ports;
  const deadline = clock.deadline(limits.query_ms, signal);
  const { fixed, dynamic } = understand(service.parts, String(request.query ?? ''));
  const { found, complete } = await find(service.parts, fixed, dynamic.length === 0 ? count : count * margin, deadline);
  if (dynamic.length === 0) return { nodes: found.map((descriptor) => rowOf(descriptor)), complete };
  if (found.length === 0) return { nodes: [], complete };
  if (found.length > limits.ask_directly_max || !askedDirectly(dynamic)) return { nodes: (await askDirectory(service, found, dynamic, count, deadline)).map((descriptor) => rowOf(descriptor)), complete };
  const loads = await service.loads(found.map(({ node }) => node), deadline);
  const nodes = found.flatMap((descriptor) => {
    const values = loads.get(descriptor.node);
    return values !== undefined && fitsNow(values, dynamic) ? [rowOf(descriptor, values)] : [];
  });
  return { nodes: count === 0 ? nodes : nodes.slice(0, count), complete: complete && loads.size === found.length };
}

export function rowOf({ node, addresses, sites, attributes }: Descriptor, values: object = {}): FoundNode {
  const shown = Object.entries(attributes).filter(([name]) => !name.startsWith('overlay.') && name !== 'node');
  return { node, address: split(addresses[0] ?? '')[0], sites, attributes: { ...Object.fromEntries(shown), ...values } };
}

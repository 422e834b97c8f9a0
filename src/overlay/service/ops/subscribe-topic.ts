import type { ApiCaller } from '../../../api/registry.ts';
import type { OverlayOperations, Positions } from '../../../api/operations/overlay.ts';
import { XosError } from '../../../core/errors.ts';
import { parseNodeId } from '../../../core/ids.ts';
import { parseFilter } from '../../pubsub/filter.ts';
import { limits as topics } from '../../pubsub/limits.ts';
import { parsePattern } from '../../pubsub/topic.ts';
import { channelOf } from '../interests.ts';
import { limits } from '../limits.ts';
import { principalOf } from '../principal.ts';
import type { RunningOverlay } from '../handle.ts';

type Subscribe = OverlayOperations['topic-subscribe'];

/**
 * xosd.sock `topic-subscribe`: portions of messages until the caller goes away. A member who may not see everything of a topic gets what is
 * about its own things. Throws XOS_BAD_TOPIC, XOS_BAD_FILTER, XOS_BAD_ARGUMENT, XOS_DENIED, XOS_BUSY, XOS_UNAVAILABLE.
 */
export async function* subscribeTopic(service: RunningOverlay, caller: ApiCaller, request: Subscribe['request'], signal: AbortSignal): AsyncGenerator<Subscribe['progress'], Subscribe['response'], void> {
  const { context } = service.options;
  const pattern = parsePattern(request.pattern);
  const decision = service.topics.access.subscribe(principalOf(context, caller, `subscribe to '${request.pattern}'`), pattern);
  if (!decision.allowed) throw new XosError('XOS_DENIED', `cannot subscribe to '${request.pattern}': ${decision.why}`, { topic: request.pattern });
  const filter = request.filter === undefined ? null : parseFilter(String(request.filter));
  const after = positionsOf(request.after);
  const replay = request.replay === true || Object.keys(after).length > 0;
  const since_ms = request.replay === true ? Number.NEGATIVE_INFINITY : context.ports.clock.now_ms() - (replay ? 0 : limits.subscription_lag_ms);
  const { subscription, end } = service.topics.subscribe(pattern, caller.uid, { filter, own_uid: decision.own_uid, since_ms, after }, replay);
  const channel = channelOf(pattern);
  if (service.interests.add(channel)) service.tellInterests();
  try {
    // The first line says that the subscription stands.
    yield { messages: [], gaps: [] };
    yield* subscription.portions(signal);
  } finally {
    end();
    if (service.interests.remove(channel)) service.tellInterests();
  }
  return {};
}

/** Checked here, since it comes from a file of the caller. */
function positionsOf(value: unknown): Positions {
  if (value === undefined) return {};
  const wrong = (): XosError => new XosError('XOS_BAD_ARGUMENT', "the positions to go on after must be an object: node to {epoch, seq}");
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong();
  const entries = Object.entries(value as Record<string, { epoch?: unknown; seq?: unknown } | null>);
  if (entries.length > topics.origins_max) throw wrong();
  return Object.fromEntries(entries.map(([node, position]) => {
    const { epoch, seq } = position ?? {};
    if (!Number.isSafeInteger(epoch) || !Number.isSafeInteger(seq) || (epoch as number) < 0 || (seq as number) < 0) throw wrong();
    return [parseNodeId(node), { epoch: epoch as number, seq: seq as number }];
  }));
}

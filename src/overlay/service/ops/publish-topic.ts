import type { ApiCaller } from '../../../api/registry.ts';
import type { OverlayOperations } from '../../../api/operations/overlay.ts';
import { XosError } from '../../../core/errors.ts';
import { principalOf } from '../principal.ts';
import type { RunningOverlay } from '../handle.ts';

type Publish = OverlayOperations['topic-publish'];

/** xosd.sock `topic-publish`. Throws XOS_BAD_TOPIC, XOS_BAD_ARGUMENT, XOS_DENIED, XOS_TOO_LARGE, XOS_BUSY, XOS_UNAVAILABLE. */
export async function publishTopic(service: RunningOverlay, caller: ApiCaller, request: Publish['request']): Promise<Publish['response']> {
  const { context } = service.options;
  const principal = principalOf(context, caller, `publish on '${String(request.topic).slice(0, 100)}'`);
  const published = await service.topics.publish(principal, String(request.topic ?? ''), payloadOf(request));
  return { node: context.node, ...published };
}

function payloadOf({ text, base64 }: Publish['request']): Buffer {
  if (typeof text === 'string' && base64 === undefined) return Buffer.from(text, 'utf8');
  if (typeof base64 === 'string' && text === undefined && /^[A-Za-z0-9+/]*={0,2}$/.test(base64)) return Buffer.from(base64, 'base64');
  throw new XosError('XOS_BAD_ARGUMENT', "a message must have either 'text' or 'base64'");
}

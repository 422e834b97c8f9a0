import type { RunningOverlay } from './handle.ts';
import { describeNode } from './ops/describe-node.ts';
import { followNodes } from './ops/follow-nodes.ts';
import { joinShape } from './ops/join-shape.ts';
import { publishTopic } from './ops/publish-topic.ts';
import { queryNodes } from './ops/query-nodes.ts';
import { subscribeTopic } from './ops/subscribe-topic.ts';

/** The operations of xosd.sock that this service brings; returns the ways to take them away. */
export function registerOperations(service: RunningOverlay): readonly (() => void)[] {
  const { api } = service.options.context;
  return [
    api.register('topic-publish', (caller, request) => publishTopic(service, caller, request)),
    api.register('topic-subscribe', (caller, request, signal) => subscribeTopic(service, caller, request, signal)),
    api.register('shape-join', (caller, request, signal) => joinShape(service, caller, request, signal)),
    api.register('node-query', (_caller, request, signal) => queryNodes(service, request, signal)),
    api.register('node-follow', (_caller, request, signal) => followNodes(service, request, signal)),
    api.register('node-describe', (caller, request) => describeNode(service, caller, request)),
    api.register('overlay-status', async () => service.show()),
  ];
}

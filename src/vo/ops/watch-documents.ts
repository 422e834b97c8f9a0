import { describe } from '../../core/errors.ts';
import type { RpcCall } from '../../core/rpc.ts';
import type { Documents, WatchRequest } from '../../proto/xos/registry/v1/registry.ts';
import type { Registry } from '../registry.ts';
import { checkPlace } from './join-node.ts';

const heartbeat_ms = 5_000;

/** Registry.Watch: what the node lacks at once, then each change as it happens, and an empty frame every few seconds. */
export async function* watchDocuments(registry: Registry, request: WatchRequest, call: RpcCall): AsyncGenerator<Documents> {
  const { clock, log } = registry.ports;
  if (request.address !== '') {
    await registry.placeNode({ node: call.peer!.node, ...checkPlace(request) }).catch((thrown: unknown) => log.warn('cannot note where a node is', { node: call.peer!.node, reason: describe(thrown) }));
  }
  let wake = (): void => {};
  const stop = registry.onDocuments(() => wake());
  call.signal.addEventListener('abort', () => wake(), { once: true });
  let sent = { membership: request.membership_version, revocation: request.revocation_version, bytes: null as Buffer | null };
  try {
    while (!call.signal.aborted) {
      const now = registry.documents();
      // Documents that were only signed anew have the same version and other bytes.
      const renewed = sent.bytes !== null && sent.bytes !== now.membership;
      yield {
        ...(now.membership_version > sent.membership || renewed ? { membership: now.membership } : {}),
        ...(now.revocation_version > sent.revocation || renewed ? { revocation: now.revocation } : {}),
      };
      sent = { membership: now.membership_version, revocation: now.revocation_version, bytes: now.membership };
      if (registry.documents().membership !== now.membership) continue; // changed while the frame was on its way
      await new Promise<void>((resolve) => {
        wake = resolve;
        const pause = new AbortController();
        void clock.sleep(heartbeat_ms, pause.signal).then(resolve, () => {});
        wake = () => (pause.abort(), resolve());
      });
    }
  } finally {
    stop();
  }
}

import { join } from 'node:path';
import type { NodeContext } from '../../daemon/context.ts';
import { XosError } from '../../core/errors.ts';
import { limits } from '../limits.ts';
import { mrcClient, parseVolumeName } from '../volumes.ts';

/**
 * Makes a volume unless it exists, and resolves when this node's mount shows it at /grid/VO/NAME (VolumeProvider.ensure).
 * @throws XOS_UNAVAILABLE when the metadata server or the mount is not there in time; XOS_DENIED for what is not a member's home
 */
export async function ensureVolume(context: NodeContext, request: { name: string; uid: number; gid: number; mode: number }, signal: AbortSignal): Promise<void> {
  const volume = parseVolumeName(request.name);
  await mrcClient(context).create(
    { volume, owner_uid: request.uid, owner_gid: request.gid, mode: request.mode, policy: undefined, uid: request.uid, ensure: true },
    { deadline_ms: limits.volume_deadline_ms, signal });
  await visible(context, volume, signal);
}

async function visible(context: NodeContext, volume: string, signal: AbortSignal): Promise<void> {
  const { clock, disk } = context.ports;
  const path = join(context.paths.grid, context.vo, volume);
  const waiting = clock.deadline(limits.visible_ms, signal);
  for (;;) {
    // A mount whose server is gone may hold the question for long: the answer is then not waited for.
    const facts = await Promise.race([disk.facts(path).catch(() => null), aborted(waiting)]);
    if (facts !== null && facts !== 'aborted' && facts.kind === 'directory') return;
    if (!waiting.aborted) await clock.sleep(limits.visible_poll_ms, waiting).catch(() => undefined);
    signal.throwIfAborted();
    if (waiting.aborted) {
      const reason = context.native.mount.connected ? 'the mount does not show it' : `the mount does not run: ${context.native.mount.reason}`;
      throw new XosError('XOS_UNAVAILABLE', `cannot use volume '${volume}' at '${path}': ${reason}; 'xnode' shows the services of each node`, { volume });
    }
  }
}

async function aborted(signal: AbortSignal): Promise<'aborted'> {
  if (signal.aborted) return 'aborted';
  return await new Promise((resolve) => signal.addEventListener('abort', () => resolve('aborted'), { once: true }));
}

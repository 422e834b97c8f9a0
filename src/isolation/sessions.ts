import { describe } from '../core/errors.ts';
import type { Session } from '../core/model.ts';
import type { Clock, Disk, Log, Spawn } from '../core/ports.ts';
import { sliceName, type Hierarchy } from './groups.ts';

/**
 * Logins land in user.slice: PAM's other modules put them there, before or after ours. So a session's processes are taken into a scope of its own
 * below the VO's slice when it opens, and looked at again a little later.
 */
export interface SessionPlaceOptions {
  readonly vo: string;
  readonly hierarchy: Hierarchy;
  readonly clock: Clock;
  readonly disk: Disk;
  readonly spawn: Spawn;
  readonly log: Log;
}

const looks_ms = [0, 500, 2_000, 5_000];
const bus = ['call', '--timeout=10', 'org.freedesktop.systemd1', '/org/freedesktop/systemd1', 'org.freedesktop.systemd1.Manager'];

export const scopeName = (session: string): string => `xos-session-${session.slice(0, 16)}.scope`;

/** Resolves when the last look is over. Only systemd has scopes: without it a session stays where it is. */
export async function placeSession(session: Session, options: SessionPlaceOptions, signal: AbortSignal): Promise<void> {
  const { clock, hierarchy, log } = options;
  if (hierarchy !== 'systemd' || session.pid === undefined || session.pid <= 1) return;
  try {
    for (const look_ms of looks_ms) {
      await clock.sleep(look_ms, signal);
      const pids = await outside(session.pid, scopeName(session.session), options.disk);
      if (pids === null) return; // the login has ended
      if (pids.length > 0) await adopt(session, pids, options, signal);
    }
  } catch (thrown) {
    if (!signal.aborted) log.warn('a session was not put under its VO', { session: session.session, reason: describe(thrown) });
  }
}

/** The login process and what it has started, as far as that is not in `scope`; null when the login is gone. */
async function outside(pid: number, scope: string, disk: Disk): Promise<readonly number[] | null> {
  const found: number[] = [];
  const look = async (each: number, depth: number): Promise<boolean> => {
    const group = await disk.read(`/proc/${each}/cgroup`).catch(() => null);
    if (group === null || group.length === 0) return false;
    if (!group.toString('latin1').includes(`/${scope}`)) found.push(each);
    const children = await disk.read(`/proc/${each}/task/${each}/children`).catch(() => null);
    if (depth < 32) for (const child of (children?.toString('latin1') ?? '').split(' ')) if (child.trim() !== '') await look(Number(child), depth + 1);
    return true;
  };
  return (await look(pid, 0)) ? found : null;
}

async function adopt(session: Session, pids: readonly number[], options: SessionPlaceOptions, signal: AbortSignal): Promise<void> {
  const { spawn, vo } = options;
  const scope = scopeName(session.session);
  const list = [String(pids.length), ...pids.map(String)];
  const call = (args: readonly string[]): ReturnType<Spawn['run']> => spawn.run('busctl', [...bus, ...args], { timeout_ms: 12_000, signal });
  const started = await call([
    'StartTransientUnit', 'ssa(sv)a(sa(sv))', scope, 'fail', '5', 'PIDs', 'au', ...list, 'Slice', 's', sliceName(vo), 'CollectMode', 's', 'inactive-or-failed',
    'Delegate', 'b', 'true', // without that nothing can be attached to it later
    'Description', 's', `Session of ${session.user}@${vo}`, '0',
  ]);
  if (started.exit_code === 0) return;
  const attached = await call(['AttachProcessesToUnit', 'ssau', scope, '', ...list]);
  if (attached.exit_code !== 0) throw new Error(`'${scope}' cannot be made (${started.stderr.trim()}) nor joined (${attached.stderr.trim()})`);
}

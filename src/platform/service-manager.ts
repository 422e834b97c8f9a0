import { XosError } from '../core/errors.ts';
import type { ServiceManager, Spawn, SpawnResult } from '../core/ports.ts';

/** A busy machine at boot takes its time to answer, and a service that was started must not count as failed. */
const command_ms = 60_000;

/** Services under runit's runsvdir: directories below `directory`, driven by sv(8). Waits for `up` no longer than 7 s (sv's default). */
export function runitManager(spawn: Spawn, directory: string): ServiceManager {
  const sv = (command: string, name: string, signal?: AbortSignal): Promise<SpawnResult> =>
    spawn.run('sv', [command, `${directory}/${name}`], { timeout_ms: command_ms, ...(signal === undefined ? {} : { signal }) });
  return {
    up: async (name, signal) => expectDone(await sv('up', name, signal), 'start', name),
    down: async (name, signal) => expectDone(await sv('down', name, signal), 'stop', name),
    reload: async (name, signal) => expectDone(await sv('hup', name, signal), 'reload', name),
    async state(name, signal) {
      const { stdout, stderr } = await sv('status', name, signal);
      const detail = (stdout.trim() || stderr.trim()).split('\n')[0] ?? '';
      if (detail.startsWith('run:')) return { state: 'up', detail };
      return { state: detail.startsWith('down:') ? 'down' : 'unknown', detail };
    },
  };
}

/** Services under systemd: units of the same names. */
export function systemdManager(spawn: Spawn): ServiceManager {
  const systemctl = (args: readonly string[], signal?: AbortSignal): Promise<SpawnResult> =>
    spawn.run('systemctl', ['--no-ask-password', ...args], { timeout_ms: command_ms, ...(signal === undefined ? {} : { signal }) });
  return {
    up: async (name, signal) => expectDone(await systemctl(['start', '--no-block', `${name}.service`], signal), 'start', name),
    down: async (name, signal) => expectDone(await systemctl(['stop', '--no-block', `${name}.service`], signal), 'stop', name),
    reload: async (name, signal) => expectDone(await systemctl(['kill', '--signal=HUP', '--kill-whom=main', `${name}.service`], signal), 'reload', name),
    async state(name, signal) {
      const { stdout } = await systemctl(['show', '--property=LoadState,ActiveState,SubState', `${name}.service`], signal);
      const detail = stdout.trim().split('\n').join(' ');
      if (detail.includes('LoadState=not-found') || detail === '') return { state: 'unknown', detail };
      return { state: detail.includes('ActiveState=active') ? 'up' : 'down', detail };
    },
  };
}

/** For development without a supervisor: services are started by hand. */
export const noManager: ServiceManager = {
  up: async () => {},
  down: async () => {},
  reload: async () => {},
  state: async () => ({ state: 'unknown', detail: 'no service manager' }),
};

function expectDone(result: SpawnResult, verb: string, name: string): void {
  if (result.exit_code === 0) return;
  const detail = (result.stderr.trim() || result.stdout.trim() || result.exit_signal) ?? '';
  throw new XosError('XOS_SERVICE', `cannot ${verb} service '${name}': ${detail}; look at its log`, { service: name });
}

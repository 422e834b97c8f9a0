import { existsSync } from 'node:fs';
import { XosError } from '../../core/errors.ts';
import { systemSpawn } from '../../platform/spawn.ts';

/** What set-up changes on a machine; tests bring their own. */
export interface Machine {
  /** Effective user. */
  readonly uid: number;
  readonly etc: string;
  readonly state: string;
  readonly run: string;
  /** Data of the packages, for instance which roles a node of this kind takes. */
  readonly share: string;
  /** Makes xosd read its configuration: starts it, or starts it anew. Returns at once. */
  startDaemon(signal: AbortSignal): Promise<void>;
  /** Ends xosd and all that it started, and waits for that. */
  stopDaemons(signal: AbortSignal): Promise<void>;
  /** Marks the programs that stay local, where that was not done when an image was built. */
  markPrograms(signal: AbortSignal): Promise<void>;
}

const start_ms = 30_000;
const mark_ms = 180_000;
const stop_ms = 180_000;
const stopper = '/usr/lib/xos/stop-node';
const marker = '/usr/lib/xos/bin/xos-marks';

/** This machine. XOS_ETC and XOS_STATE are for development, as xosd has them. */
export function thisMachine(env: Readonly<Record<string, string | undefined>>): Machine {
  const run = async (program: string, args: readonly string[], what: string, signal: AbortSignal, timeout_ms: number): Promise<void> => {
    const { exit_code, exit_signal, stdout, stderr } = await systemSpawn.run(program, args, { signal, timeout_ms });
    if (exit_code !== 0) throw new XosError('XOS_SERVICE', `cannot ${what}: ${(stderr.trim() || stdout.trim() || exit_signal) ?? `'${program}' ended with ${exit_code}`}`);
  };
  return {
    uid: process.geteuid?.() ?? -1,
    etc: env['XOS_ETC'] ?? '/etc/xos',
    state: env['XOS_STATE'] ?? '/var/lib/xos',
    run: env['XOS_RUN'] ?? '/run/xos',
    share: '/usr/share/xos',
    async startDaemon(signal) {
      // Not waited for: at boot this may run inside of a job that systemd would have to finish first.
      if (existsSync('/run/systemd/system')) return await run('systemctl', ['--no-ask-password', 'restart', '--no-block', 'xosd.service'], "start 'xosd.service'", signal, start_ms);
      if (existsSync('/run/service/xosd')) return await run('sv', ['restart', '/run/service/xosd'], "start 'xosd'", signal, start_ms);
      throw new XosError('XOS_SERVICE', "cannot start 'xosd': neither systemd nor runit runs here; start it by hand, its configuration is written");
    },
    async stopDaemons(signal) {
      if (!existsSync(stopper)) throw new XosError('XOS_SERVICE', `cannot stop this node: there is no '${stopper}'; a node of a personal grid is removed with 'xgrid down --purge'`);
      await run(stopper, [], 'stop this node', signal, stop_ms);
    },
    async markPrograms(signal) {
      if (existsSync(marker)) await run(marker, ['apply'], 'mark the programs that stay local', signal, mark_ms);
    },
  };
}

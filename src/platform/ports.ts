import type { Log, Ports, ServiceManager } from '../core/ports.ts';
import { systemClock } from './clock.ts';
import { systemDatagrams } from './datagrams.ts';
import { systemDisk } from './disk.ts';
import { systemMounts } from './mounts.ts';
import { systemNetwork } from './network.ts';
import { systemProcesses } from './processes.ts';
import { systemRandom } from './random.ts';
import { systemSpawn } from './spawn.ts';

/** The real ports of a node. */
export function systemPorts(log: Log, serviceManager: ServiceManager): Ports {
  return {
    clock: systemClock,
    random: systemRandom,
    disk: systemDisk,
    network: systemNetwork,
    datagrams: systemDatagrams,
    spawn: systemSpawn,
    processes: systemProcesses,
    mounts: systemMounts,
    log,
    serviceManager,
  };
}

#!/usr/bin/env node
import { existsSync, readFileSync } from 'node:fs';
import { revokeCredentials, setDumpable, trimMemory, tuneAllocator, updateKey } from '../../native/peer/index.ts';
import { XosError, describe } from '../core/errors.ts';
import type { Log, ServiceManager } from '../core/ports.ts';
import { keyType } from '../platform/keys.ts';
import { streamLog } from '../platform/log.ts';
import { systemPorts } from '../platform/ports.ts';
import { noManager, runitManager, systemdManager } from '../platform/service-manager.ts';
import { systemSpawn } from '../platform/spawn.ts';
import type { CredentialKeys } from '../session/index.ts';
import { credentialPayload } from '../vo/key-payload.ts';
import { parseConfig, type NodeConfig } from './config.ts';
import type { Paths } from './context.ts';
import { NodeDaemon } from './node.ts';

/** xosd: reads its configuration, runs until SIGTERM or SIGINT. The XOS_… variables are for development beside an installed node. */
const env = (name: string, otherwise: string): string => process.env[name] ?? otherwise;
const paths: Paths = {
  run: env('XOS_RUN', '/run/xos'),
  state: env('XOS_STATE', '/var/lib/xos'),
  etc: env('XOS_ETC', '/etc/xos'),
  grid: env('XOS_GRID', '/grid'),
  home: env('XOS_HOME', '/home'),
  skeleton: env('XOS_SKELETON', '/etc/skel'),
  services: env('XOS_SERVICES', '/run/service'),
};

function readConfig(): NodeConfig {
  const path = `${paths.etc}/node.json`;
  try {
    return parseConfig(readFileSync(path, 'utf8'));
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    throw new XosError('XOS_CONFIG', `${path}: ${missing ? 'there is no such file; write {"node":"n1","address":"10.0.0.1","roles":["relay","mount"]}' : describe(cause)}`, {}, { cause });
  }
}

function serviceManager(kind: NodeConfig['supervisor']): ServiceManager {
  const found = kind !== 'auto' ? kind : existsSync('/run/systemd/system') ? 'systemd' : existsSync(paths.services) ? 'runit' : 'none';
  return found === 'systemd' ? systemdManager(systemSpawn) : found === 'runit' ? runitManager(systemSpawn, paths.services) : noManager;
}

function version(): string {
  // From src/daemon in the source tree, dist/src/daemon installed.
  for (const up of ['../../package.json', '../../../package.json', '../../../../package.json']) {
    const url = new URL(up, import.meta.url);
    if (!existsSync(url)) continue;
    const found = JSON.parse(readFileSync(url, 'utf8')) as { name?: string; version?: string };
    if (found.name === 'xtreemos' && found.version !== undefined) return found.version;
  }
  return 'unknown';
}

/** Where the module xos_cred is loaded the kernel keeps uid, serial number and expiry with the credential (pam/pam_xos/keyring.c). */
function credentialKeys(log: Log): CredentialKeys {
  return {
    update(key, credential) {
      try {
        updateKey(key, keyType(key) === 'xos_cred' ? credentialPayload(credential, Date.now()) : Buffer.from(credential === '' ? '-' : credential));
        return true;
      } catch {
        return false; // the keyring went with its session
      }
    },
    revoke(uids) {
      try {
        const wiped = revokeCredentials(uids, []);
        if (wiped !== null && wiped > 0) log.info('credentials of revoked members wiped in the kernel', { members: uids.length, credentials: wiped });
      } catch (thrown) {
        log.error('credentials of revoked members cannot be wiped in the kernel; their sessions end all the same', { members: uids.length, reason: describe(thrown) });
      }
    },
  };
}

async function main(): Promise<void> {
  let log: Log = streamLog();
  try {
    const config = readConfig();
    log = streamLog({ level: config.log });
    tuneAllocator();
    setInterval(trimMemory, 60_000).unref();
    setDumpable(false); // the keys of sessions are in this process
    const daemon = new NodeDaemon({
      config,
      paths,
      ports: systemPorts(log, serviceManager(config.supervisor)),
      version: version(),
      keys: credentialKeys(log),
    });
    const fatal = (what: string) => (thrown: unknown) => {
      log.error(what, { reason: describe(thrown), stack: thrown instanceof Error ? thrown.stack : undefined });
      process.exit(1); // the supervisor starts it again; state is safe at every moment
    };
    process.on('uncaughtException', fatal('an exception was not caught'));
    process.on('unhandledRejection', fatal('a promise was rejected and nobody listened'));
    const stop = (signal: string): void => {
      log.info('stopping', { signal });
      setTimeout(() => process.exit(1), 10_000).unref();
      daemon.stop().then(() => process.exit(0), fatal('could not stop cleanly'));
    };
    process.once('SIGTERM', stop);
    process.once('SIGINT', stop);
    await daemon.start();
  } catch (thrown) {
    log.error('xosd cannot run', { code: thrown instanceof XosError ? thrown.code : undefined, reason: describe(thrown) });
    process.exit(1);
  }
}

await main();

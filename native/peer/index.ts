import { createRequire } from 'node:module';
import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Binding } from './binding.ts';

let loaded: Binding | null = null;

/** mount(2) */
export const MS_BIND = 4096;
export const MS_REC = 16384;
export const MS_PRIVATE = 1 << 18;
export const MS_SHARED = 1 << 20;
/** umount(2) */
export const MNT_DETACH = 2;

export const peerCredentials: Binding['peerCredentials'] = (fd) => binding().peerCredentials(fd);
export const mount: Binding['mount'] = (source, target, flags) => binding().mount(source, target, flags);
export const unmount: Binding['unmount'] = (target, flags) => binding().unmount(target, flags);
export const statFileSystem: Binding['statFileSystem'] = (path) => binding().statFileSystem(path);
export const readSessionKey: Binding['readSessionKey'] = (description) => binding().readSessionKey(description);
export const updateKey: Binding['updateKey'] = (key, payload) => binding().updateKey(key, payload);
export const revokeCredentials: Binding['revokeCredentials'] = (uids, serials) => binding().revokeCredentials(uids, serials);
export const hashPassword: Binding['hashPassword'] = (phrase, setting) => binding().hashPassword(phrase, setting);
export const passwordSetting: Binding['passwordSetting'] = (prefix, cost, random) => binding().passwordSetting(prefix, cost, random);
export const setDumpable: Binding['setDumpable'] = (dumpable) => binding().setDumpable(dumpable);
export const tuneAllocator: Binding['tuneAllocator'] = () => binding().tuneAllocator();
export const trimMemory: Binding['trimMemory'] = () => binding().trimMemory();

/** The addon, loaded at first use. Installed: /usr/lib/xos/lib/peer.node; in the source tree: build/PART/peer/peer.node. */
function binding(): Binding {
  if (loaded !== null) return loaded;
  const found = candidates().find((path) => existsSync(path));
  if (found === undefined) throw new Error(`the addon peer.node is not there: build the native part (looked at ${candidates().join(', ')})`);
  loaded = createRequire(import.meta.url)(found) as Binding;
  return loaded;
}

function candidates(): readonly string[] {
  const named = process.env['XOS_PEER_ADDON'];
  if (named !== undefined) return [named];
  const here = dirname(fileURLToPath(import.meta.url));
  // From <root>/native/peer in the source tree, <root>/build/dist/native/peer when compiled there.
  const builds = [join(here, '../../build'), join(here, '../../..')].flatMap((build) => {
    if (!existsSync(build)) return [];
    return readdirSync(build).map((name) => join(build, name, 'peer/peer.node'));
  });
  return ['/usr/lib/xos/lib/peer.node', ...builds];
}

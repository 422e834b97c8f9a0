import { describe } from '../core/errors.ts';
import type { Disk, Log } from '../core/ports.ts';
import type { Service } from '../core/service.ts';
import { coalesce } from '../core/signal.ts';
import type { Members } from '../daemon/context.ts';
import { groupFile, passwdFile } from './files.ts';

export interface AccountOptions {
  readonly vo: string;
  readonly number: number;
  readonly members: Members;
  /** /run/xos */
  readonly run: string;
  /** /home */
  readonly home: string;
  readonly disk: Disk;
  readonly log: Log;
}

/** Keeps /run/xos/passwd and /run/xos/group as the VO's members are: a new member is known at once, with no edit on any node. */
export function accountService(options: AccountOptions): Service {
  const { members, disk, log, run, number, vo, home } = options;
  let failure = '';
  const write = async (): Promise<void> => {
    const list = members.list();
    // The group first: a passwd line never names a gid that is not there yet.
    await disk.writeAtomic(`${run}/group`, groupFile(number, vo, list), { mode: 0o644, durable: false });
    await disk.writeAtomic(`${run}/passwd`, passwdFile(number, list, home), { mode: 0o644, durable: false });
    failure = '';
  };
  const failed = (thrown: unknown): void => {
    failure = describe(thrown);
    log.error('cannot write the names of the members', { reason: failure });
  };
  let stop = (): void => {};
  return {
    name: 'account',
    async start() {
      stop = members.onChange(coalesce(write, failed));
      await write();
    },
    async stop() {
      stop();
    },
    status: () => ({ up: failure === '', detail: failure }),
  };
}

import { readFileSync } from 'node:fs';
import { readFile, readdir } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import type { Processes } from '../core/ports.ts';

/** How many processes are looked at before others have their turn: some milliseconds. A turn takes long where much is waiting. */
const at_once = 128;

export const systemProcesses: Processes = {
  async ofUser(uid) {
    const found: number[] = [];
    const pids = (await readdir('/proc')).filter((name) => /^[0-9]+$/.test(name));
    for (const [index, pid] of pids.entries()) {
      if (index % at_once === at_once - 1) await setImmediate();
      const uids = /^Uid:\s+(\d+)\s+(\d+)/m.exec(status(pid));
      if (uids !== null && (Number(uids[1]) === uid || Number(uids[2]) === uid)) found.push(Number(pid));
    }
    return found;
  },
  async startTime(pid) {
    const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '');
    // proc(5): field 2 is the name in parentheses and may hold blanks and parentheses itself; field 22 is the start time.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (stat === '' || fields[0] === 'Z' || fields[0] === 'X') return null;
    return Number(fields[19]);
  },
  kill(pid, signal) {
    try {
      return process.kill(pid, signal);
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code === 'ESRCH') return false;
      throw thrown;
    }
  },
};

/** Empty when it is gone. Read at once: nothing here waits for a disk, and by the thread pool (five trips for each file) all of /proc takes ten times as long. */
function status(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/status`, 'latin1');
  } catch {
    return '';
  }
}

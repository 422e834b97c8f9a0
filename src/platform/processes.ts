import { readFile, readdir } from 'node:fs/promises';
import type { Processes } from '../core/ports.ts';

export const systemProcesses: Processes = {
  async ofUser(uid) {
    const found: number[] = [];
    for (const name of await readdir('/proc')) {
      if (!/^[0-9]+$/.test(name)) continue;
      const status = await readFile(`/proc/${name}/status`, 'latin1').catch(() => '');
      const uids = /^Uid:\s+(\d+)\s+(\d+)/m.exec(status);
      if (uids !== null && (Number(uids[1]) === uid || Number(uids[2]) === uid)) found.push(Number(name));
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

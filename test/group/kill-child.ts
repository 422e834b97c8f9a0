// Proposes numbers for ever and writes each one on a line of standard output once it is acknowledged. Ended by kill -9.
import { writeSync } from 'node:fs';
import { LmdbLog, Replica } from '../../src/group/index.ts';
import { quietLog } from '../support/ports.ts';
import { numbers } from './kill-machine.ts';

const replica = new Replica(numbers, new LmdbLog(process.argv[2]!), { log: quietLog, snapshot_entries: 40, batch_max: 16 });
await replica.start();
let next = replica.state.last + 1;
const propose = async (): Promise<void> => {
  for (;;) {
    const number = next++;
    await replica.propose({ number });
    writeSync(1, `${number}\n`);
  }
};
await Promise.all(Array.from({ length: 8 }, propose));

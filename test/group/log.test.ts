import test from 'ava';
import { mkdtemp, rm } from 'node:fs/promises';
import { LmdbLog, MemoryLog, memoryStore } from '../../src/group/index.ts';
import { logContract } from './log-contract.ts';

logContract(test, 'memory', async () => {
  const store = memoryStore();
  return { open: () => new MemoryLog(store), remove: async () => {} };
});

logContract(test, 'lmdb', async () => {
  const directory = await mkdtemp('/tmp/xos-log-');
  return { open: () => new LmdbLog(directory), remove: () => rm(directory, { recursive: true }) };
});

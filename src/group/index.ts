export type { LogEntry, LogStart, OrderedLog, Snapshot } from './log.ts';
export type { Applied, StateMachine } from './machine.ts';
export { LmdbLog } from './lmdb-log.ts';
export { MemoryLog, memoryStore, type MemoryStore } from './memory-log.ts';
export { Replica, type ReplicaOptions } from './replica.ts';

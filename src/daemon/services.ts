import type { ServiceFactory } from './context.ts';

/** Parts that a node of a VO runs besides membership, accounts and sessions; loaded when they start, stopped in reverse order. */
export const services: readonly { readonly name: string; readonly load: () => Promise<ServiceFactory> }[] = [
  // First: no job may start before the node knows how narrow its cell is to be.
  { name: 'isolation', load: async () => (await import('../isolation/index.ts')).createIsolationService },
  { name: 'volume', load: async () => (await import('../volume/index.ts')).createVolumeService },
  { name: 'job', load: async () => (await import('../job/index.ts')).createJobService },
  { name: 'checkpoint', load: async () => (await import('../checkpoint/index.ts')).createCheckpointService },
];

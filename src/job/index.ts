export { createJobService, type JobService } from './service.ts';
export { forward, forwarded, type Forwarded } from './ops/forward.ts';
export type { Jobs } from './jobs.ts';
export type { Candidate, NodeSelector } from './placement.ts';

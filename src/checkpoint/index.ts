export { createCheckpointService, type CheckpointService } from './service.ts';

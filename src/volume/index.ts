export { createVolumeService, type VolumeService } from './service.ts';

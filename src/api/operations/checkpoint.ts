import type { Checked, CheckpointProgress, CreateRequest, Created, MigrateRequest, Migrated, RestartRequest, Restarted } from '../../checkpoint/model.ts';

/** Operations on checkpoints, from any node. A user acts on own jobs; root and members with the role `admin` may checkpoint all of them. */
export interface CheckpointOperations {
  'checkpoint-create': { request: CreateRequest; response: Created; progress: CheckpointProgress };
  'checkpoint-check': { request: { readonly job: string }; response: Checked };
  'checkpoint-authority': { request: object; response: { readonly certificates: string } };
  'checkpoint-migrate': { request: MigrateRequest; response: Migrated; progress: CheckpointProgress };
  'checkpoint-restart': { request: RestartRequest; response: Restarted; progress: CheckpointProgress };
}

import type { CheckpointProgress } from '../../checkpoint/home.ts';
import type { Checked } from '../../checkpoint/ops/check-job.ts';
import type { CreateRequest, Created } from '../../checkpoint/ops/create-checkpoint.ts';
import type { RestartRequest, Restarted } from '../../checkpoint/ops/restart-checkpoint.ts';

/** Operations on checkpoints, from any node. A user acts on own jobs; root and members with the role `admin` may checkpoint all of them. */
export interface CheckpointOperations {
  'checkpoint-create': { request: CreateRequest; response: Created; progress: CheckpointProgress };
  'checkpoint-check': { request: { readonly job: string }; response: Checked };
  'checkpoint-restart': { request: RestartRequest; response: Restarted; progress: CheckpointProgress };
}

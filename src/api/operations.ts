import type { AdminOperations } from './operations/admin.ts';
import type { CheckpointOperations } from './operations/checkpoint.ts';
import type { IsolationOperations } from './operations/isolation.ts';
import type { JobOperations } from './operations/job.ts';
import type { NodeOperations } from './operations/node.ts';
import type { OverlayOperations } from './operations/overlay.ts';
import type { VolumeOperations } from './operations/volume.ts';

/**
 * All operations of /run/xos/xosd.sock: name → what goes in, what comes out, and the progress lines in between (never when there are none).
 * An area of operations has a file of its own in operations/; a service that brings more of them does so there and is added here.
 */
export interface Operations extends AdminOperations, CheckpointOperations, IsolationOperations, JobOperations, NodeOperations, OverlayOperations, VolumeOperations {}

export interface Operation {
  readonly request: object;
  readonly response: object;
  readonly progress?: object;
}

export type OperationName = keyof Operations & string;
export type Request<N extends OperationName> = Operations[N] extends { request: infer R } ? R : never;
export type Response<N extends OperationName> = Operations[N] extends { response: infer R } ? R : never;
export type Progress<N extends OperationName> = Operations[N] extends { progress: infer P } ? P : never;

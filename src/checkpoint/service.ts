import type { NodeContext } from '../daemon/context.ts';
import { XosError } from '../core/errors.ts';
import type { Service } from '../core/service.ts';
import { Protector } from './protect/protector.ts';
import { checkJob } from './ops/check-job.ts';
import { createCheckpoint } from './ops/create-checkpoint.ts';
import { migrateJob } from './ops/migrate-job.ts';
import { restartCheckpoint } from './ops/restart-checkpoint.ts';
import { tellAuthority } from './ops/tell-authority.ts';

/** Checkpoints of jobs: names, places and who may, and those that are taken of protected jobs; the engine is below the relay (native/checkpoint). Keeps no state: the files are it. */
export class CheckpointService implements Service {
  readonly name = 'checkpoint';
  readonly #context: NodeContext;
  readonly #protector: Protector;
  readonly #undo: (() => void)[] = [];

  constructor(context: NodeContext) {
    this.#context = context;
    this.#protector = new Protector(context);
  }

  async start(): Promise<void> {
    const context = this.#context;
    this.#undo.push(
      context.api.register('checkpoint-create', (caller, request, signal) =>
        createCheckpoint(context, caller, { job: text(request.job, 'job'), name: request.name === null ? null : text(request.name, 'name'), leave_running: request.leave_running === true }, signal)),
      context.api.register('checkpoint-check', (caller, request, signal) => checkJob(context, caller, { job: text(request.job, 'job') }, signal)),
      context.api.register('checkpoint-authority', () => tellAuthority(context)),
      context.api.register('checkpoint-migrate', (caller, request, signal) =>
        migrateJob(context, caller, { job: text(request.job, 'job'), node: request.node === null ? null : text(request.node, 'node') }, signal)),
      context.api.register('checkpoint-restart', (caller, request, signal) =>
        restartCheckpoint(context, caller, {
          name: text(request.name, 'name'), node: request.node === null ? null : text(request.node, 'node'), detach: request.detach === true,
          earlier: request.earlier === '' ? '' : text(request.earlier, 'earlier'), force: request.force === true,
        }, signal)),
    );
    this.#protector.start();
  }

  async stop(): Promise<void> {
    await this.#protector.stop();
    for (const undo of this.#undo.splice(0)) undo();
  }
}

/** The checkpoint service of a node; listed in src/daemon/services.ts. */
export const createCheckpointService = (context: NodeContext): CheckpointService => new CheckpointService(context);

function text(value: unknown, what: string): string {
  if (typeof value === 'string' && value.length > 0 && value.length <= 200) return value;
  throw new XosError('XOS_BAD_ARGUMENT', `a checkpoint operation needs a ${what}, a text of at most 200 characters`);
}

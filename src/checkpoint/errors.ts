import { XosError } from '../core/errors.ts';

/** Errors of checkpoints: what was attempted on which one, what was wrong and what to do. */
export const badName = (name: string, why: string): XosError =>
  new XosError('XOS_BAD_NAME', `checkpoint name '${name.slice(0, 80)}' is not valid: ${why}`, { kind: 'checkpoint' });

export const unknownCheckpoint = (attempt: string, name: string): XosError =>
  new XosError('XOS_CHECKPOINT_UNKNOWN', `cannot ${attempt} checkpoint '${name}': there is none of that name; 'xcheckpoint ls' lists yours`, { name });

export const damaged = (attempt: string, name: string, why: string): XosError =>
  new XosError('XOS_CHECKPOINT_DAMAGED', `cannot ${attempt} checkpoint '${name}': ${why}; remove it with 'xcheckpoint rm ${name}'`, { name });

export const foreign = (attempt: string, name: string, version: string): XosError =>
  new XosError('XOS_CHECKPOINT_VERSION', `cannot ${attempt} checkpoint '${name}': its format is version ${version}, this node reads version 1; use a node with the software that made it`, { name });

export const noSuchJob = (attempt: string, job: string): XosError =>
  new XosError('XOS_NO_JOB', `cannot ${attempt} job '${job}': there is no such job of yours, or it ended more than ten minutes ago; 'xps' lists jobs`, { job });

export const noSuchProxy = (attempt: string, pid: string): XosError =>
  new XosError('XOS_NO_JOB', `cannot ${attempt} process ${pid}: no job of yours has its proxy there on this node; 'xps' lists jobs`, { pid });

export const notYours = (attempt: string, job: string, user: string): XosError =>
  new XosError('XOS_DENIED', `cannot ${attempt} job '${job}': it belongs to ${user}; ask its owner or an administrator of the VO`, { job, user });

export const noSuchNode = (attempt: string, node: string, vo: string): XosError =>
  new XosError('XOS_NO_NODE', `cannot ${attempt}: there is no node '${node}' in VO '${vo}'; 'xnode' lists nodes`, { node });

export const homeSilent = (attempt: string, job: string, home: string, advice: string, cause: unknown): XosError =>
  new XosError('XOS_UNAVAILABLE', `cannot ${attempt}: the home node '${home}' of job '${job}' does not answer; ${advice}`, { job, node: home }, { cause });

export const stillRuns = (name: string, job: string, state: string, node: string): XosError =>
  new XosError('XOS_JOB_RUNNING', `cannot restart checkpoint '${name}': its job '${job}' is still there (${state}, node ${node}), and there must be one of it only; end it first with 'xkill ${job}'`, { job, state, node });

export const notRunning = (attempt: string, job: string, state: string): XosError =>
  new XosError('XOS_JOB_OVER', `cannot ${attempt} job '${job}': it is ${state}`, { job, state });

export const noSession = (name: string, node: string): XosError =>
  new XosError('XOS_SESSION_UNKNOWN', `cannot restart checkpoint '${name}': you have no session on node '${node}'; log in there as user@vo`, { name, node });

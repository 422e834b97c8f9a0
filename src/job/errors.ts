import { XosError } from '../core/errors.ts';

/** Errors of job management: what was attempted on which job, what was wrong and what to do. */
export const noJob = (attempt: string, job: string): XosError =>
  new XosError('XOS_NO_JOB', `cannot ${attempt} job '${job}': there is no such job, or it ended more than ten minutes ago; 'xps --ended' lists jobs`, { job });

export const noProxy = (attempt: string, pid: number): XosError =>
  new XosError('XOS_NO_JOB', `cannot ${attempt} process ${pid}: no job has its proxy there on this node; 'xps' lists jobs`, { pid });

export const notYours = (attempt: string, job: string, user: string): XosError =>
  new XosError('XOS_DENIED', `cannot ${attempt} job '${job}': it belongs to ${user}; ask its owner or an administrator of the VO`, { job, user });

export const noHome = (attempt: string, job: string, node: string, vo: string): XosError =>
  new XosError('XOS_NO_NODE', `cannot ${attempt} job '${job}': there is no node '${node}' in VO '${vo}'; 'xnode' lists nodes`, { job, node });

export const homeSilent = (attempt: string, job: string, node: string, cause: unknown): XosError =>
  new XosError('XOS_UNAVAILABLE', `cannot ${attempt} job '${job}': its home node '${node}' does not answer; try again when 'xnode' shows it ready`, { job, node }, { cause });

export const jobOver = (attempt: string, job: string, state: string): XosError =>
  new XosError('XOS_JOB_OVER', `cannot ${attempt} job '${job}': it is ${state}`, { job, state });

export const badArgument = (what: string): XosError => new XosError('XOS_BAD_ARGUMENT', what);

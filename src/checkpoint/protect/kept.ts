/** A checkpoint that xosd takes of a protected job by itself: `protected+<job>+<n>`. No other checkpoint may be named so. */
export const kept_prefix = 'protected+';

export interface KeptName {
  readonly name: string;
  readonly job: string;
  readonly number: number;
}

export const isKeptName = (name: string): boolean => name.startsWith(kept_prefix);

/** Null for a name that is not of this kind. */
export function readKeptName(name: string): KeptName | null {
  const match = /^protected\+([a-z0-9][a-z0-9-]*-[0-9]{1,15})\+([1-9][0-9]{0,8})$/.exec(name);
  return match === null ? null : { name, job: match[1]!, number: Number(match[2]) };
}

/**
 * The next checkpoint of a job: a name that was never used for it, so that nothing that still writes an older one comes near it.
 * @param used the last number that is known to have been used: what a node that was cut off has begun with it is in no list yet
 */
export function nextKeptName(job: string, names: readonly string[], used: number): string {
  const numbers = names.flatMap((name) => readKeptName(name) ?? []).filter((each) => each.job === job).map(({ number }) => number);
  return `${kept_prefix}${job}+${Math.max(used, ...numbers) + 1}`;
}

/** Those of a running job that are not the one to go on from: older ones, and what a checkpoint that failed has left. */
export const superseded = (job: string, kept: string, names: readonly string[]): readonly string[] =>
  names.filter((name) => name !== kept && readKeptName(name)?.job === job);

/** Of a home node's jobs those that it does not know any more, and their checkpoints. */
export const orphans = (home: string, known: ReadonlySet<string>, names: readonly string[]): readonly KeptName[] =>
  names.flatMap((name) => readKeptName(name) ?? []).filter(({ job }) => job.slice(0, job.lastIndexOf('-')) === home && !known.has(job));
